"""The report: a study as one HTML file that explains itself, to be read by somebody who was not there."""
