"""The way of a fix: checked, throttled, encoded, cached and fanned out."""
