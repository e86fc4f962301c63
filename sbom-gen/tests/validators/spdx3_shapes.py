"""The model of SPDX 3.0.1 as SHACL shapes, JSON-LD context and JSON schema.

No package registry has SPDX's own files of these, but PyPI has what its generator (shacl2code) makes of
them: Python bindings, whose class tables hold all that the shapes say. Here the tables are turned back
into shapes and context, and the same generator makes the JSON schema from those, as SPDX does.
That nothing is lost on the way back is shown by `round_trip`: the generator makes of these shapes the very
bindings again (docs/decisions/0004-sbom-crates.md).

Usage: spdx3_shapes.py [SCHEMA]
  prints what the shapes hold and what the round trip found, exits 1 when that is a difference, and writes
  the JSON schema to the file SCHEMA
"""

import ast
import functools
import json
import pathlib
import sys
import tempfile

import pyshacl
import rdflib
from rdflib import OWL, RDF, RDFS, SH, XSD, BNode, Literal, URIRef
from rdflib.collection import Collection
from shacl2code.main import main as shacl2code
from spdx_python_model.bindings import v3_0_1 as bindings

CONTEXT_URL = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
CODE = rdflib.Namespace("https://jpewdev.github.io/shacl2code/schema#")
NODE_KINDS = {
    bindings.NodeKind.IRI: SH.IRI,
    bindings.NodeKind.BlankNode: SH.BlankNode,
    bindings.NodeKind.BlankNodeOrIRI: SH.BlankNodeOrIRI,
}
# The most exact first: some are derived from others.
DATATYPES = (
    (bindings.AnyURIProp, XSD.anyURI),
    (bindings.StringProp, XSD.string),
    (bindings.DateTimeStampProp, XSD.dateTimeStamp),
    (bindings.DateTimeProp, XSD.dateTime),
    (bindings.PositiveIntegerProp, XSD.positiveInteger),
    (bindings.NonNegativeIntegerProp, XSD.nonNegativeInteger),
    (bindings.IntegerProp, XSD.integer),
    (bindings.BooleanProp, XSD.boolean),
    (bindings.FloatProp, XSD.decimal),
)


def classes():
    """Every class of the model, by address."""
    found = {cls._TYPE: cls for cls in bindings.SHACLObject.CLASSES.values() if cls._TYPE}
    return [found[address] for address in sorted(found)]


def own(cls):
    """The properties that a class adds to those of its parents: (table row, single property, is it a list)."""
    inherited = {row.iri for base in cls.__bases__ for row in getattr(base, "_OBJ_PY_PROPS", {}).values()}
    for row in cls._OBJ_PY_PROPS.values():
        if row.iri not in inherited:
            prop = row.prop or row.reg()
            listed = isinstance(prop, bindings.ListProp)
            yield row, prop.prop if listed else prop, listed


def class_of_individual():
    return {address: cls for cls in classes() for address in cls.NAMED_INDIVIDUALS.values()}


def datatype(prop):
    return next(kind for python, kind in DATATYPES if isinstance(prop, python))


def add_values(graph, shape, prop, individuals):
    """What a property may lead to: one of some values, an object of a class, or a literal."""
    if isinstance(prop, bindings.EnumProp):
        values = [URIRef(address) for address, _ in prop.context]
        graph.add((shape, SH["in"], Collection(graph, BNode(), values).uri))
        graph.add((shape, SH["class"], URIRef(individuals[str(values[0])]._TYPE)))
        graph.add((shape, SH.nodeKind, SH.IRI))
    elif isinstance(prop, bindings.ObjectProp):
        graph.add((shape, SH["class"], URIRef(prop.cls._TYPE)))
        graph.add((shape, SH.nodeKind, NODE_KINDS[prop.cls.NODE_KIND]))
    else:
        graph.add((shape, SH.datatype, datatype(prop)))
        graph.add((shape, SH.nodeKind, SH.Literal))
    if prop.pattern:
        graph.add((shape, SH.pattern, Literal(prop.pattern)))


def add_class(graph, cls, individuals):
    node = URIRef(cls._TYPE)
    graph.add((node, RDF.type, OWL.Class))
    graph.add((node, RDF.type, SH.NodeShape))
    graph.add((node, SH.nodeKind, NODE_KINDS[cls.NODE_KIND]))
    for base in cls.__bases__:
        if getattr(base, "_TYPE", None):
            graph.add((node, RDFS.subClassOf, URIRef(base._TYPE)))
    if cls.IS_ABSTRACT:
        shape, negation = BNode(), BNode()
        graph.add((node, SH.property, shape))
        graph.add((shape, SH.path, RDF.type))
        graph.add((shape, SH["not"], negation))
        graph.add((negation, SH.hasValue, node))
    if bindings.SHACLExtensibleObject in cls.__bases__:
        graph.add((node, CODE.isExtensible, Literal(True)))
    if cls.ID_ALIAS:
        graph.add((node, CODE.idPropertyName, Literal(cls.ID_ALIAS)))
    for row, prop, listed in own(cls):
        shape = BNode()
        graph.add((node, SH.property, shape))
        graph.add((shape, SH.path, URIRef(row.iri)))
        graph.add((URIRef(row.iri), RDF.type, RDF.Property))
        if row.min_count:
            graph.add((shape, SH.minCount, Literal(row.min_count)))
        most = row.max_count if listed else 1
        if most:
            graph.add((shape, SH.maxCount, Literal(most)))
        add_values(graph, shape, prop, individuals)
    for address in cls.NAMED_INDIVIDUALS.values():
        graph.add((URIRef(address), RDF.type, OWL.NamedIndividual))
        graph.add((URIRef(address), RDF.type, node))


@functools.cache
def shapes():
    graph = rdflib.Graph()
    individuals = class_of_individual()
    for cls in classes():
        add_class(graph, cls, individuals)
    return graph


@functools.cache
def context():
    """What each short name in a document means."""
    terms = {"spdxId": "@id", "type": "@type"}
    for cls in classes():
        terms[cls._COMPACT_TYPE] = cls._TYPE
        for row, prop, _ in own(cls):
            term = {"@id": row.iri}
            if isinstance(prop, bindings.EnumProp):
                vocabulary = prop.context[0][0].removesuffix(prop.context[0][1])
                term |= {"@type": "@vocab", "@context": {"@vocab": vocabulary}}
            elif isinstance(prop, bindings.ObjectProp):
                term["@type"] = "@vocab"
                terms |= {short: address for address, short in prop.context}
            else:
                term["@type"] = str(datatype(prop))
            terms[row.compact] = term
    return terms


def generate(folder, *language):
    """Lets the generator of SPDX make something of the shapes."""
    model, names = folder / "model.ttl", folder / "context.json"
    shapes().serialize(model, format="turtle")
    names.write_text(json.dumps({"@context": context()}))
    command = ["generate", "--input", str(model), "--context-url", str(names), CONTEXT_URL]
    if shacl2code(command + list(language)):
        raise RuntimeError("shacl2code failed")


@functools.cache
def schema():
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "schema.json"
        generate(out.parent, "jsonschema", "--output", str(out))
        return json.loads(out.read_text())


def graph_of(document):
    """A document as RDF, its short names read by the context above and not by one from the network."""
    if document["@context"] != CONTEXT_URL:
        raise ValueError(f"the context is {document['@context']}, not {CONTEXT_URL}")
    graph = rdflib.Graph()
    graph.parse(data=json.dumps(document | {"@context": context()}), format="json-ld")
    return graph


def violations(document):
    """What SHACL has against a document, a line each."""
    graph = graph_of(document)
    own = set(graph.subjects())
    _, report, _ = pyshacl.validate(graph, shacl_graph=shapes(), ont_graph=shapes())
    for result in report.objects(None, SH.result):
        # The model's own individuals have their creation info in SPDX's files; they are not the document's.
        if (focus := report.value(result, SH.focusNode)) not in own:
            continue
        kind = report.value(result, SH.sourceConstraintComponent).fragment.removesuffix("ConstraintComponent")
        path, value = report.value(result, SH.resultPath), report.value(result, SH.value)
        yield f"SHACL {kind}: {focus} {path or ''} {'' if value is None else value}".strip()


def tables(source):
    """The class tables of bindings without their comments: {class: its statements}."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            statements = [one for one in node.body if not isinstance(one, ast.Expr)]
            bases = [ast.dump(base) for base in node.bases]
            found[node.name] = bases + [ast.dump(one) for one in statements]
    return found


def round_trip():
    """Names of the classes that the generator does not make again as they were published."""
    published = tables(pathlib.Path(bindings.model.__file__).read_text())
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        generate(folder, "python", "--output", str(folder / "again"))
        again = tables((folder / "again" / "model.py").read_text())
    return sorted(name for name in published | again if published.get(name) != again.get(name))


def main(*schema_file):
    for path in schema_file:
        pathlib.Path(path).write_text(json.dumps(schema()))
    differing = round_trip()
    graph = shapes()
    kinds = (SH.minCount, SH.maxCount, SH.datatype, SH["class"], SH["in"], SH.pattern, SH.nodeKind, SH["not"])
    held = [f"{len(list(graph.subject_objects(kind)))} {kind.fragment}" for kind in kinds]
    print(f"{len(classes())} classes, {len(list(graph.subject_objects(SH.property)))} properties: {', '.join(held)}")
    print(f"classes that differ after the round trip: {', '.join(differing) or 'none'}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
