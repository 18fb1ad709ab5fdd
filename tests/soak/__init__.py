"""A server under churn, which must end with the resources that it began with."""
