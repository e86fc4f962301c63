"""Checks every SBOM in a directory: CycloneDX 1.6 against the strict schema, SPDX 2.3 with the
validator of pyspdxtools. Prints one line for each complaint; exits 1 when there was one.

Usage: check.py DIRECTORY   (files named *.cdx.json and *.spdx.json)
"""

import pathlib
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.error import SPDXParsingError
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document


def cyclonedx(path):
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(path.read_text("utf-8"))
    return [str(error)[:600]] if error else []


def spdx(path):
    try:
        document = parse_file(str(path))
    except SPDXParsingError as error:
        return [str(message)[:600] for message in error.messages]
    return [message.validation_message for message in validate_full_spdx_document(document)]


def main(directory):
    checks = {"*.cdx.json": cyclonedx, "*.spdx.json": spdx}
    seen = bad = 0
    for pattern, check in checks.items():
        for path in sorted(pathlib.Path(directory).glob(pattern)):
            seen += 1
            complaints = check(path)
            bad += bool(complaints)
            for complaint in complaints[:5]:
                print(f"{path.name}: {complaint}")
    print(f"checked {seen}, invalid {bad}")
    return 1 if bad or not seen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
