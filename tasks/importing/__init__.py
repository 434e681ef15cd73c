"""The import: files of a source into the files region, and their rows into the index.

`sources` says what a source is, `folders`, `archives` and `urls` (with `manifests`) are its kinds,
and `locating` tells which kind a name stands for. `importer` puts the files into the region, many
at once (`jobs`), and `index` their rows into the index; `selection` says which files are meant,
`progress` how far it is, and `reporting` tells the operator.
"""
