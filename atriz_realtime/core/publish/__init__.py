"""What happens to a published fix: checked, throttled, encoded, cached and fanned out."""
