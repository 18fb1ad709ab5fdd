"""What every part of the core runs on: plugins' code within limits, counters, rate limits."""
