"""Topics of a collection in many languages: clusters, whether they follow content or language, and labels."""
