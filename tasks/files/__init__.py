"""The imported files: content, index, folders, previews, attachments, downloads."""
