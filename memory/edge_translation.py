"""Requests of qdrant_client.models as those of Qdrant Edge, which has models of its own. Pure functions.

Each raises TypeError for what the store does not use.
"""

from typing import Any, cast

import qdrant_edge as edge
from qdrant_client import models


def named_vectors(vector: Any) -> Any:
    """Vectors by name, as plain lists."""
    return {name: list(values) for name, values in vector.items()}


def index_of(schema: models.PayloadSchemaParams) -> Any:
    """A payload index."""
    match schema:
        case models.KeywordIndexParams():
            return edge.KeywordIndexParams(is_tenant=schema.is_tenant)
        case models.IntegerIndexParams():
            return edge.IntegerIndexParams(lookup=schema.lookup, range=schema.range)
        case models.DatetimeIndexParams():
            return edge.DatetimeIndexParams()
        case models.TextIndexParams():
            return edge.TextIndexParams(
                tokenizer=edge.TokenizerType.Word,
                lowercase=schema.lowercase,
                ascii_folding=schema.ascii_folding,
                stemmer=edge.SnowballParams(edge.SnowballLanguage.English) if schema.stemmer else None,
                stopwords=edge.Language.English if schema.stopwords else None,
                scoring=schema.scoring is not None,
            )
    raise TypeError(f"No Edge index for {type(schema).__name__}")


def filter_or_none(given: models.Filter | None) -> edge.Filter | None:
    """A filter that may be left out."""
    return None if given is None else filter_of(given)


def filter_of(given: models.Filter) -> edge.Filter:
    """A filter."""
    return edge.Filter(
        must=_conditions(given.must), should=_conditions(given.should), must_not=_conditions(given.must_not)
    )


def _conditions(given: Any) -> list[Any] | None:
    if given is None:
        return None
    return [_condition(c) for c in (given if isinstance(given, list) else [given])]


def _condition(given: Any) -> Any:
    match given:
        case models.Filter():
            return filter_or_none(given)
        case models.HasIdCondition():
            return edge.HasIdCondition({str(i) for i in given.has_id})
        case models.HasVectorCondition():
            return edge.HasVectorCondition(given.has_vector)
        case models.IsEmptyCondition():
            return edge.IsEmptyCondition(given.is_empty.key)
        case models.FieldCondition(match=None):
            return edge.FieldCondition(given.key, range=_range(given.range))
        case models.FieldCondition():
            return edge.FieldCondition(given.key, match=_match(given.match))
    raise TypeError(f"No Edge condition for {type(given).__name__}")


def _match(given: Any) -> Any:
    match given:
        case models.MatchValue():
            return edge.MatchValue(given.value)
        case models.MatchAny():
            return edge.MatchAny(cast(list[str], list(given.any)))
        case models.MatchSubstring():
            return edge.MatchSubstring(given.substring)
        case models.MatchText():
            return edge.MatchText(given.text)
    raise TypeError(f"No Edge match for {type(given).__name__}")


def _range(given: Any) -> Any:
    bounds = {name: getattr(given, name) for name in ("gte", "gt", "lte", "lt")}
    if isinstance(given, models.DatetimeRange):
        return edge.RangeDateTime(**{n: None if b is None else b.isoformat() for n, b in bounds.items()})
    return edge.RangeFloat(**bounds)


def query_of(given: models.QueryRequest) -> edge.QueryRequest:
    """One query of a batch."""
    match given.query:
        case models.TextQuery(text=models.TextQueryInput() as text):
            scoring = text.scoring.bm25 if text.scoring else None
            parameters = edge.Bm25Params(scoring.k, scoring.b) if scoring else None
            query: Any = edge.TextQuery(given.using or "", text.query, parameters)
        case models.NearestQuery():
            query = edge.Query.Nearest(cast(list[float], given.query.nearest), using=given.using)
        case _:
            raise TypeError(f"No Edge query for {type(given.query).__name__}")
    params = None
    if given.params and isinstance(given.params.idf, models.IdfCorpusParams):
        corpus = filter_or_none(given.params.idf.corpus)
        params = edge.SearchParams(idf=edge.IdfParams(corpus))
    return edge.QueryRequest(
        limit=given.limit or 10,
        query=query,
        filter=filter_or_none(given.filter),
        with_payload=cast(bool | list[str], given.with_payload),
        params=params,
    )
