"""Connected clients: their sockets, identities, subscriptions and limits."""
