"""The TypeScript client and its React hooks, as they are shipped."""
