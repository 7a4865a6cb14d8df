"""HTTP beside GraphQL resolvers: the GraphQL endpoint, storage, the file stream, administration."""
