"""The import: files of a source into the files region, and their rows into the index.

`sources` defines a source. `folders`, `archives` and `urls` (with `manifests`) are its kinds, and
`locating` finds the kind of a name. `importer` puts the files into the region, several at once
(`jobs`), and `index` writes their rows. `selection` has the patterns that select files, `progress`
counts, and `reporting` shows the progress to the operator.
"""
