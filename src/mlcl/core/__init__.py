"""Ground floor: errors, languages, files, progress, plugin lookup. Imports nothing else of the package."""
