"""Where outcomes go: blobs, part files, the manifest. A new sink is a module here."""
