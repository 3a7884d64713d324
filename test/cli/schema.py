"""The part of JSON Schema that the schemas here use: type, const, enum, required, properties, additionalProperties, items, minimum, pattern, oneOf."""

import re

TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "null": lambda v: v is None,
}
KEYWORDS = {"$schema", "title", "description", "type", "const", "enum", "required", "properties", "additionalProperties",
            "items", "minimum", "pattern", "oneOf"}


def faults(value, schema, where="document"):
    """What is wrong with `value`, one sentence each."""
    unknown = set(schema) - KEYWORDS
    assert not unknown, f"this validator does not know {unknown}"
    types = schema.get("type", list(TYPES))
    types = [types] if isinstance(types, str) else types
    if not any(TYPES[name](value) for name in types):
        yield f"{where} is {value!r}, which is not {' or '.join(types)}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{where} is {value!r} instead of {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is {value!r}, which is none of {schema['enum']}"
    if "minimum" in schema and value is not None and value < schema["minimum"]:
        yield f"{where} is {value}, less than {schema['minimum']}"
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        yield f"{where} is {value!r}, which does not match {schema['pattern']}"
    if "oneOf" in schema:
        found = [list(faults(value, choice, where)) for choice in schema["oneOf"]]
        if sum(not f for f in found) != 1:
            yield f"{where} fits none, or more than one, of its choices: {found}"
    if isinstance(value, dict):
        yield from faults_of_object(value, schema, where)
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            yield from faults(item, schema["items"], f"{where}[{i}]")


def faults_of_object(value, schema, where):
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name in schema.get("required", []):
        if name not in value:
            yield f"{where} lacks {name}"
    for name, item in value.items():
        if name in properties:
            yield from faults(item, properties[name], f"{where}.{name}")
        elif others is False:
            yield f"{where} has {name}, which the schema does not know"
        elif isinstance(others, dict):
            yield from faults(item, others, f"{where}.{name}")
