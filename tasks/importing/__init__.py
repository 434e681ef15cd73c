"""The import: files of a folder into the files region, and their rows into the index.

`walking` finds the files, `importer` puts them into region and index, and `reporting` tells the
operator.
"""
