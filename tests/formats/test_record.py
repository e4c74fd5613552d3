"""What holds for records, whatever format they come from."""

from __future__ import annotations

import pickle
from dataclasses import fields

from mlcl.formats import Record


def test_a_record_reaches_another_process_whole():
    record = Record([("en", "Yes"), ("de", "Ja")], "letters/1", ("No",))
    copy = pickle.loads(pickle.dumps(record))
    assert copy == record
    assert copy.__reduce__()[1] == tuple(getattr(record, field.name) for field in fields(Record))  # none is left out
