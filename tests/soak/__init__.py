"""A server under churn, which must end with what it began with."""
