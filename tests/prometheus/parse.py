"""Reads an exposition on stdin by the Python client's parser, and prints it as JSON."""

import json
import sys

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as text

parse = {
    "text": text.text_string_to_metric_families,
    "openmetrics": openmetrics.text_string_to_metric_families,
}[sys.argv[1]]

sys.stdin.reconfigure(encoding="utf-8", newline="\n")
json.dump(
    [
        {
            "name": family.name,
            "type": family.type,
            "help": family.documentation,
            "samples": [
                [sample.name, sample.labels, str(sample.value)]
                for sample in family.samples
            ],
            "exemplars": [
                [sample.labels, sample.exemplar.labels, sample.exemplar.value]
                for sample in family.samples
                if sample.exemplar
            ],
        }
        for family in parse(sys.stdin.read())
    ],
    sys.stdout,
)
