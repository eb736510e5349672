"""Reads metrics as the reference implementation of OpenMetrics does, which is strict, and says how
many families there are."""

import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

print(len(list(text_string_to_metric_families(sys.stdin.read()))), "families")
