"""The requests of a ranked search, one for each half: nearness of meaning, and words as English and as other languages."""

from collections.abc import Iterable, Sequence

from qdrant_client import models

from memory.ranking import Weights
from memory.words import words_of_query


def nearest_request(
    vector: Sequence[float], name: str, selector: models.Filter, weights: Weights
) -> models.QueryRequest:
    """What is near a vector, by the vectors of that name."""
    return models.QueryRequest(
        query=models.NearestQuery(nearest=list(vector)),
        using=name,
        filter=selector,
        limit=weights.depth,
        with_payload=False,
    )


def words_requests(
    query: str, languages: Iterable[str], corpora: Sequence[models.Filter], selector: models.Filter, weights: Weights
) -> list[models.QueryRequest]:
    """The query's words as English, and as the other languages of the memories; a word's rarity is counted in each one's corpus."""
    scoring = models.Bm25Scoring(bm25=models.Bm25Params(k=weights.k, b=weights.b))
    return [
        models.QueryRequest(
            query=models.TextQuery(text=models.TextQueryInput(query=words, scoring=scoring)),
            using="lexical",
            filter=selector,
            limit=weights.depth,
            with_payload=False,
            params=models.SearchParams(idf=models.IdfCorpusParams(corpus=corpus)),
        )
        for words, corpus in zip(words_of_query(query, languages), corpora, strict=True)
        if words
    ]
