"""The pages that app.py shows, one file per page, and what they share."""
