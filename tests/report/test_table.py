"""Reading and cleaning: what is read right, what is said, what is refused."""

import io
import re
import zipfile

import numpy as np
import pytest

from estimators.report import TableError
from estimators.report._read import read
from estimators.report._table import CallError, clean

from .conftest import rows


def usable(path):
    raw = read(path)
    return clean(str(path), raw.values, raw.columns, raw.notes)


def with_header(values, names="abc"):
    return [list(names), *values.tolist()]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_delimiters_line_ends_and_byte_order_marks(table, delimiter, ending, mark):
    values = rows()
    lines = [delimiter.join(map(repr, row)) for row in values.tolist()]
    text = ending.join([delimiter.join("abc"), *lines])
    read_back = usable(table(mark + text.encode()))
    np.testing.assert_array_equal(read_back.values, values)
    assert read_back.columns == ("a", "b", "c")
    assert read_back.notes == []


def test_quoted_fields_may_hold_the_delimiter_and_line_ends(table):
    raw = read(table('"a;b;c","two\nlines"\n"1","2"\n3,4\n'))
    assert raw.columns == ["a;b;c", "two lines"]
    np.testing.assert_array_equal(raw.values, [[1, 2], [3, 4]])


def test_a_header_of_commas_does_not_hide_the_semicolons(table):
    raw = read(table("a,b;c\n1;2\n3;4\n"))
    assert raw.columns == ["a,b", "c"]


def test_decimal_commas_are_text_and_the_message_says_so(table):
    with pytest.raises(TableError, match="decimal commas are not read, write points"):
        read(table("a;b\n1,5;2,5\n3,5;4,5\n"))
    # Without a header too: no half of 1,5 passes for a number.
    with pytest.raises(TableError, match="decimal commas"):
        read(table("1,5;2,5;4,5\n3,5;4,5;4,5\n"))


def test_a_text_column_is_dropped_by_name_with_its_first_text(table):
    raw = read(table("a,kind\n1,cat\n2,7\n3,NA\n"))
    assert raw.columns == ["a"]
    assert raw.notes == ["column 'kind' dropped: 1 of its 2 values is text (first: 'cat')"]
    assert raw.header == ["a", "kind"]


@pytest.mark.parametrize("cell", ["1_000", "0x1F", "1e", "1 2", "12%", "TRUE"])
def test_what_only_looks_like_a_number_is_text(table, cell):
    assert read(table(f"a,b\n1,{cell}\n2,3\n")).columns == ["a"]


@pytest.mark.parametrize("cell", ["", " ", "NA", "n/a", "NaN", "null", "None", "?", "-", "."])
def test_marks_of_a_missing_value(table, cell):
    values = read(table(f"a,b\n1,{cell}\n2,3\n")).values
    np.testing.assert_array_equal(values, [[1, np.nan], [2, 3]])


@pytest.mark.parametrize(
    ("first", "is_header"),
    [
        ("2019,2020,2021", False),
        ("1,NA,2", False),
        ("1,inf,2", False),
        ("year,2020,2021", True),
        (",0,1", True),  # pandas, from an array
        ("a,,", True),
    ],
)
def test_a_first_line_of_numbers_is_data_and_that_is_said(table, first, is_header):
    raw = read(table(f"{first}\n4,5,6\n7,8,9\n"))
    assert len(raw.values) == (2 if is_header else 3)
    said = any(note.startswith("no header: the first line") for note in raw.notes)
    assert said == (not is_header)


def test_names_are_made_unique_printable_and_the_change_is_said(table):
    raw = read(table('a,a,a (2),,"x\x1b[31m\ty"\n' + "1,2,3,4,5\n" * 2))
    assert raw.columns == ["a", "a (2)", "a (2) (2)", "column_4", "x [31m y"]
    assert len(raw.notes) == 3


def test_blank_lines_are_skipped_and_counted(table):
    raw = read(table("a,b\n1,2\n\n3,4\n \n5,6\n\n\n"))
    assert len(raw.values) == 3
    assert raw.notes == ["2 blank lines skipped"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("a,b\n", "a header and no rows"),
        ("a,b\n1,2\n1,2,3\n", "data row 2 has 3 fields; the first line has 2"),
        ("a,b\n1\n", "data row 1 has 1 field; the first line has 2"),
        ("a,b\nx,y\n", "no numeric column"),
        (b"\xe9,b\n1,2\n", "UTF-8 text; byte 1 is not"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-8 text"),
        ('a,b\n"' + "x" * 200_000 + '",2\n', "field larger than"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(table, content, message):
    with pytest.raises(TableError, match=message):
        read(table(content))


def saved(path, *arrays, **named):
    np.savez(path, *arrays, **named)
    return path


def test_arrays_by_themselves_and_with_names(tmp_path):
    values = rows()
    np.save(tmp_path / "a.npy", values)
    for path in (tmp_path / "a.npy", saved(tmp_path / "b.npz", values)):
        raw = read(path)
        np.testing.assert_array_equal(raw.values, values)
        assert raw.columns == ["column_1", "column_2", "column_3"]
        assert raw.notes == []
    for names in (np.array(["p", "q", "r"]), np.array([b"p", b"q", b"r"])):
        assert read(saved(tmp_path / "c.npz", data=values, columns=names)).columns == list("pqr")


def test_vectors_become_columns_of_their_names(tmp_path):
    raw = read(saved(tmp_path / "a.npz", u=np.arange(4), columns=np.ones(4)))
    assert raw.columns == ["u", "columns"]
    np.testing.assert_array_equal(raw.values[:, 0], np.arange(4))


def test_an_array_that_is_not_read_is_named(tmp_path):
    raw = read(saved(tmp_path / "a.npz", data=rows(), extra=rows()))
    assert raw.notes == ["not read: 'extra', beside the array 'data'"]


OBJECTS = np.array([[1, "a"]] * 60, dtype=object)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"data": OBJECTS}, "pickle"),
        ({"data": rows(), "columns": np.array(list("abc"), dtype=object)}, "pickle"),
        ({"data": rows(), "columns": np.array(["a"])}, "must name the 3 columns; it holds 1 name"),
        ({"data": rows(), "columns": np.array("abc")}, "must be a list of names"),
        ({"a": np.ones((3, 4, 5))}, r"2-D array of numbers; it holds an array of shape \(3, 4, 5"),
        ({"a": np.ones(60)}, r"shape \(60,\)"),
        ({"a": rows() > 0}, "type bool"),
        ({"a": rows() + 1j}, "type complex128"),
        ({"a": np.ones(3), "b": np.ones(4)}, "1-D arrays of numbers of one length"),
        ({"a": np.ones(3), "b": np.array(["x"] * 3)}, "1-D arrays of numbers of one length"),
        ({"p": rows(), "q": rows()}, "one 2-D array"),
        ({}, "it holds nothing"),
    ],
)
def test_archives_that_hold_no_table_are_refused(tmp_path, arrays, message):
    with pytest.raises(TableError, match=message):
        read(saved(tmp_path / "a.npz", **arrays))


def archive():
    buffer = io.BytesIO()
    np.savez(buffer, rows())
    return buffer.getvalue()


def array():
    buffer = io.BytesIO()
    np.save(buffer, rows())
    return buffer.getvalue()


def pickled():
    buffer = io.BytesIO()
    np.save(buffer, OBJECTS, allow_pickle=True)
    return buffer.getvalue()


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


def not_arrays():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("readme.txt", "hello")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", b"", "is empty"),
        ("a.npz", b"hello", "not an .npz file"),
        ("a.npz", array(), "not an .npz file"),
        ("a.npz", archive()[:700], "cannot be read as .npz"),
        ("a.npz", flipped(archive()), "cannot be read as .npz: Bad CRC"),
        ("a.npz", not_arrays(), "it holds something else"),
        ("a.npy", b"hello", "not an .npy file"),
        ("a.npy", archive(), "not an .npy file"),
        ("a.npy", array()[:300], "cannot be read as .npy"),
        ("a.npy", pickled(), "pickle"),
    ],
)
def test_broken_binary_files_are_refused(table, name, content, message):
    with pytest.raises(TableError, match=message) as caught:
        read(table(content, name))
    assert "allow_pickle" not in str(caught.value)


def test_files_that_are_not_there_or_not_files(tmp_path, table):
    with pytest.raises(FileNotFoundError, match=r"none\.csv does not exist"):
        read(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read(tmp_path / "folder.csv")
    with pytest.raises(CallError, match=r"must end in .csv, .npz or .npy; it ends in '.txt'"):
        read(table("a\n1\n", "table.txt"))
    assert read(table("a\n1\n", "TABLE.CSV")).columns == ["a"]


def cleaned(values, names="abc"):
    return clean("t", np.asarray(values, float), list(names), [])


def test_rows_with_gaps_are_dropped_counted_and_keep_their_numbers():
    values = rows(60)
    values[2, 0], values[3, 1], values[4, 1] = np.nan, np.inf, -np.inf
    kept = cleaned(values)
    assert kept.rows.tolist() == [1, 2, *range(6, 61)]
    assert kept.rows_read == 60
    assert kept.notes == [
        "3 of 60 rows dropped: a value is missing or not finite in 'a' (1), 'b' (2)"
    ]


def test_columns_mostly_missing_go_before_the_rows():
    values = rows(60)
    values[:36, 1] = np.nan
    kept = cleaned(values)
    assert kept.columns == ("a", "c")
    assert len(kept.values) == 60
    assert kept.notes == ["column 'b' dropped: 60% of its values are missing or not finite"]


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (np.full(60, 5.0), "it is 5 in all rows"),
        (2.0**62 + np.arange(60), "in all rows, rounded to a 64-bit float"),
        (rows()[:, 0] * 1e300, "square overflows; rescale it"),
        (rows()[:, 0] * 1e-300, "square underflows; rescale it"),
    ],
)
def test_columns_that_no_arithmetic_can_use_are_dropped(column, reason):
    values = rows()
    values[:, 1] = column
    kept = cleaned(values)
    assert kept.columns == ("a", "c")
    assert re.fullmatch(f"column 'b' dropped: .*{reason}", kept.notes[0])


def test_far_values_and_copies_are_kept_and_said():
    values = rows()
    values[7, 1] = 1e30
    values[9] = values[8]
    kept = cleaned(values)
    assert len(kept.values) == 60
    far, copies = kept.notes
    assert "column 'b' has 1 value more than 10000 times" in far
    assert "row 8: 1e+30" in far
    assert copies.startswith("1 exact copy of other rows")


def test_equal_rows_of_counts_are_no_copies():
    assert cleaned(np.arange(180).reshape(60, 3) // 3 % 4).notes == []


def test_ordinary_tables_get_no_remark():
    assert cleaned(rows(2000)).notes == []
    assert cleaned(1e9 + 1e-3 * rows()).notes == []


def test_columns_of_few_values_are_discrete():
    values = np.stack([np.arange(60) % 14, np.arange(60) % 15, np.arange(60)], axis=1)
    assert cleaned(values).discrete.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (rows(49), "t has 49 rows and needs 50$"),
        (rows(0), "t has 0 rows"),
        (np.where(np.arange(180).reshape(60, 3) % 5 == 0, np.nan, rows()), "usable rows and needs"),
        (np.ones((60, 3)), "no numeric column that varies"),
        (np.full((60, 3), np.nan), "no numeric column that varies"),
    ],
)
def test_too_little_left_is_refused(values, message):
    with pytest.raises(TableError, match=message):
        cleaned(values)


def test_fifty_rows_are_enough():
    assert len(cleaned(rows(50)).values) == 50


def test_many_reasons_are_cut_short():
    with pytest.raises(TableError, match="and 37 more") as caught:
        cleaned(np.ones((60, 40)), [f"{'n' * 500}{i}" for i in range(40)])
    assert len(str(caught.value)) < 500
