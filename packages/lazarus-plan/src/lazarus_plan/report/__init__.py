"""Reports about plans for people and programs: pages, summaries, differences, SARIF."""
