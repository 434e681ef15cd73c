"""Stands in for what starts the servers of those tests of cachelib that are not run here."""

ProcessStarter = object
