"""Checks every SBOM in a directory: CycloneDX 1.5, 1.6 and 1.7 against the strict schemas, SPDX 2.3 with
the validator of pyspdxtools, SPDX 3.0.1 against the SHACL shapes of its model and its bindings (and that
every address leads somewhere; its JSON schema is for check.mjs); every package URL in any of them must
be spelled as packageurl-python spells it. What is named `conformant…` must besides be NTIA (SPDX) and BSI
TR-03183-2 (SPDX 3) conformant, `ntia…` only the former. SHACL takes a second for each document and passes
over those named `real…` unless HALLMARK_TEST_FULL is set.
Prints one line for each complaint; exits 1 when there was one.

Usage: check.py DIRECTORY   (files named *.cdx15.json, *.cdx.json, *.cdx17.json, *.spdx.json, *.spdx3.json)
"""

import io
import json
import logging
import os
import pathlib
import sys

import ntia_conformance_checker.graph_utils as graph_utils
import spdx3_shapes
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from ntia_conformance_checker import SbomChecker
from packageurl import PackageURL
from spdx_python_model.bindings import v3_0_1 as spdx3_model
from spdx_tools.spdx.model.relationship import RelationshipType
from spdx_tools.spdx.parser.error import SPDXParsingError
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

# The checkers warn of source packages, which they do not reach from what was made of them.
logging.disable(logging.WARNING)
# Nor do they reach what was made of a source package, which is what a document about a build is about: here
# they do.
graph_utils.VALID_SPDX3_COMPOSITION_RELATIONSHIPS.add("generates")


def with_made(document, plain=graph_utils._build_spdx2_graph):
    roots, edges = plain(document)
    for one in document.relationships:
        if one.relationship_type == RelationshipType.GENERATED_FROM:
            edges.setdefault(one.related_spdx_element_id, []).append(one.spdx_element_id)
    return roots, edges


graph_utils._build_spdx2_graph = with_made
VERSIONS = (SchemaVersion.V1_5, SchemaVersion.V1_6, SchemaVersion.V1_7)
STRICT = {version: JsonStrictValidator(version) for version in VERSIONS}


def cyclonedx(version):
    def check(path):
        error = STRICT[version].validate_str(path.read_text("utf-8"))
        return [str(error)[:600]] if error else []

    return check


def spdx(path):
    try:
        document = parse_file(str(path))
    except SPDXParsingError as error:
        return [str(message)[:600] for message in error.messages]
    return [message.validation_message for message in validate_full_spdx_document(document)]


def spdx3(path):
    objects = spdx3_model.SHACLObjectSet()
    text = path.read_bytes()
    document = json.loads(text)
    complaints = []
    try:
        spdx3_model.JSONLDDeserializer().read(io.BytesIO(text), objects)
        # Cardinalities are checked on the way out.
        spdx3_model.JSONLDSerializer().write(objects, io.BytesIO())
    except Exception as error:  # the bindings raise several kinds
        complaints.append(f"{type(error).__name__}: {error}"[:600])
    complaints += [f"leads nowhere: {missing}" for missing in sorted(objects.missing_ids)]
    ids = [element.get("spdxId") for element in document["@graph"] if "spdxId" in element]
    if len(ids) != len(set(ids)):
        complaints.append("two elements with one address")
    if not path.name.startswith("real") or "HALLMARK_TEST_FULL" in os.environ:
        complaints += sorted(spdx3_shapes.violations(document))
    return complaints


def purls(value):
    """Every package URL anywhere in a document; what follows `#` tells two packages of one URL apart."""
    if isinstance(value, str) and value.startswith("pkg:"):
        yield value.partition("#")[0]
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from purls(inner)


def spelling(path):
    complaints = []
    for text in set(purls(json.loads(path.read_text("utf-8")))):
        try:
            canonical = PackageURL.from_string(text).to_string()
        except ValueError as error:
            canonical = str(error)
        # A slash in a qualifier may be escaped or not.
        if canonical != text.replace("%2F", "/"):
            complaints.append(f"{text} is no canonical package URL: want {canonical}")
    return sorted(complaints)


def conformance(path, standard, spec):
    checker = SbomChecker(str(path), validate=True, compliance=standard, sbom_spec=spec)
    if checker.compliant:
        return []
    complaints = [f"{standard}: not conformant"]
    for name, value in vars(checker).items():
        if name.startswith("components_without") and value:
            complaints.append(f"{standard}: {name}: {value[:3]}")
    return complaints


# What to look for, how to check it, and which standards the conformant ones have to meet.
CHECKS = {
    "*.cdx15.json": (cyclonedx(SchemaVersion.V1_5), []),
    "*.cdx.json": (cyclonedx(SchemaVersion.V1_6), []),
    "*.cdx17.json": (cyclonedx(SchemaVersion.V1_7), []),
    "*.spdx.json": (spdx, [("ntia", "spdx2")]),
    "*.spdx3.json": (spdx3, [("ntia", "spdx3"), ("bsi", "spdx3")]),
}


def main(directory):
    seen = bad = conformant = 0
    for pattern, (check, standards) in CHECKS.items():
        for path in sorted(pathlib.Path(directory).glob(pattern)):
            seen += 1
            complaints = check(path) or spelling(path)
            for standard, spec in standards:
                if path.name.startswith(("conformant", standard)):
                    found = conformance(path, standard, spec)
                    conformant += not found
                    complaints += found
            bad += bool(complaints)
            for complaint in complaints[:12]:
                print(f"{path.name}: {complaint}")
    print(f"checked {seen}, invalid {bad}, conformant {conformant}")
    return 1 if bad or not seen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
