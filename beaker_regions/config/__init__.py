"""Options of regions: parsing, addresses of servers, environment, secrets."""
