"""The import beside the tools that an operator would take instead.

`http` and `nginx` import over HTTP, `folders` a tree of small files, `archives` a zip and a tar.gz;
`killed` kills imports. `turns` lets the contenders take turns, `trees` makes files, and `places`
makes a region and a database for an import.
"""
