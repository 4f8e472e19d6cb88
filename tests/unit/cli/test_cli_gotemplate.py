from __future__ import annotations

from typing import Any

import pytest

from viaduct.base.errors import UsageError
from viaduct.cli.gotemplate.template import Template
from viaduct.cli.gotemplate.values import Record

DATA: dict[str, Any] = {
    "Name": "app",
    "Empty": "",
    "Count": 3,
    "Ratio": 1.5,
    "Yes": True,
    "Nil": None,
    "List": [1, "two", {"x": "y"}],
    "Map": {"b": "2", "a": "1"},
    "Html": "<a & b>",
    "Record": Record("v1.Platform", {"OS": "linux", "Architecture": "arm64"}),
    "Nested": [{"Platform": {"OS": "linux"}}, {"Platform": {"OS": "plan9"}}],
}


def render(template: str, *, indent_json: bool = False) -> str:
    return Template(template, indent_json=indent_json).render(DATA)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain text", "plain text"),
        ("{{.Name}}", "app"),
        ("{{ .Name }}!", "app!"),
        ("a {{- .Name -}} b", "aappb"),
        ("a {{.Name -}}\n\n b", "a appb"),
        ("{{/* nothing */}}x{{- /* nothing */ -}} y", "xy"),
        ("{{.List}}", "[1 two map[x:y]]"),
        ("{{.Map}}", "map[a:1 b:2]"),
        ("{{.Record}}", "{linux arm64}"),
        ("{{.Record.OS}}/{{.Record.Architecture}}", "linux/arm64"),
        ("{{.Yes}} {{.Nil}} {{.Count}} {{.Ratio}}", "true <nil> 3 1.5"),
        ("{{.Missing}}", "<no value>"),
        ("{{if .Empty}}a{{else if .Name}}b{{else}}c{{end}}", "b"),
        ("{{if .Nil}}a{{end}}", ""),
        ("{{if and .Name .Count}}yes{{end}}", "yes"),
        ("{{if or .Empty .Nil}}yes{{else}}no{{end}}", "no"),
        ("{{if not .Empty}}yes{{end}}", "yes"),
        ("{{range .List}}[{{.}}]{{end}}", "[1][two][map[x:y]]"),
        ("{{range $i, $e := .List}}{{$i}}={{$e}};{{end}}", "0=1;1=two;2=map[x:y];"),
        ("{{range $e := .Map}}{{$e}}{{end}}", "12"),
        ("{{range $k, $v := .Map}}{{$k}}{{$v}}{{end}}", "a1b2"),
        ("{{range .Missing}}x{{else}}none{{end}}", "none"),
        ("{{range $i, $e := .List}}{{if eq $i 0}}{{continue}}{{end}}{{.}}{{break}}{{end}}", "two"),
        ("{{range .Nested}}{{.Platform.OS}},{{$.Name}};{{end}}", "linux,app;plan9,app;"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{with .Map}}{{.a}}{{end}}{{with .Empty}}x{{else}}y{{end}}", "1y"),
        ("{{$x := .Name}}{{$x}}{{$x = `b`}}{{$x}}", "appb"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{index .List 1}} {{index .Map `a`}} {{index .List 2 `x`}}", "two 1 y"),
        ("{{(index .List 2).x}}", "y"),
        ("{{len .List}} {{len .Name}} {{len .Map}}", "3 3 2"),
        ("{{slice .Name 1}} {{slice .Name 0 2}}", "pp ap"),
        ('{{eq .Name "app"}} {{eq .Count 1 2 3}} {{ne .Count 3}} {{lt 1 2}} {{ge "b" "a"}}',
         "true true false true true"),
        ("{{.Name | upper | printf `%s!`}}", "APP!"),
        ('{{printf "%-5s|%5d|%05d|%q|%x|%.1f|%t|%v|%%" .Name 42 42 .Name .Name .Ratio .Yes .List}}',
         'app  |   42|00042|"app"|617070|1.5|true|[1 two map[x:y]]|%'),
        ('{{printf "%d" .Name}} {{printf "%s"}} {{printf "a" 1}}',
         "%!d(string=app) %!s(MISSING) a%!(EXTRA int=1)"),
        ('{{printf "%T %T" .Record .Count}}', "v1.Platform int"),
        ("{{print 1 2 `a` 3}} {{println `x` 1}}", "1 2a3 x 1\n"),
        ('{{join .List ","}} {{lower "ABC"}} {{title "ab cd"}}', "1,two,map[x:y] abc Ab Cd"),
        ('{{split "a/b" "/"}} {{truncate "abcdef" 3}} [{{pad "x" 1 2}}]', "[a b] abc [ x  ]"),
        ("{{json .Map}} {{json .Html}}", '{"a":"1","b":"2"} "\\u003ca \\u0026 b\\u003e"'),
        ("{{json .Record}} {{json .Nil}}", '{"Architecture":"arm64","OS":"linux"} null'),
        (r'{{"a\tb\u00e9\x41\"\\"}}', 'a\tbéA"\\'),
        ("{{1}}{{-1}}{{0x10}}{{1e2}}{{'a'}}", "1-11610097"),
        ("{{if eq .Name `app` | not}}a{{else}}b{{end}}", "b"),
        ("{{and 1 0 (index .List 99)}}", "0"),
        ("}} { {", "}} { {"),
    ],
)  # fmt: skip
def test_a_template_renders_as_in_go(template: str, text: str) -> None:
    assert render(template) == text


def test_json_is_indented_for_imagetools() -> None:
    text = render("{{json .Map}}", indent_json=True)
    assert text == '{\n  "a": "1",\n  "b": "2"\n}'


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{", "template: :1: unclosed action"),
        ("{{if .Name}}", "template: :1: unexpected EOF"),
        ("a\nb{{.Name", "template: :2: unclosed action"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{else}}", "template: :1: unexpected {{else}}"),
        ("{{}}", "template: :1: missing value for command"),
        ("{{.Name |}}", "template: :1: missing value for command"),
        ("{{nope .Name}}", 'template: :1: function "nope" not defined'),
        ("{{break}}", "template: :1: {{break}} outside {{range}}"),
        ("{{define `x`}}{{end}}", "template: :1: {{define}} is not supported here"),
        ("{{(.Name}}", "template: :1: unclosed left paren"),
        ("{{.Name)}}", "template: :1: unexpected )"),
        ('{{"abc}}', "template: :1: unterminated quoted string"),
        (r'{{"\q"}}', r'template: :1: bad string "\q"'),
        ("{{.Name ^}}", "template: :1: unexpected '^' in operand"),
        ("{{if .a}}{{else}}{{else}}{{end}}", "template: :1: unexpected {{else}}"),
    ],
)
def test_a_template_that_is_none_is_told_with_its_line(template: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Template(template)
    assert caught.value.what == message


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{.Record.Nope}}", "template: can't evaluate field Nope in type v1.Platform"),
        ("{{.Nil.X}}", "template: nil pointer evaluating .X"),
        ("{{.Name.X}}", "template: can't evaluate field X in app"),
        ("{{$y}}", "template: undefined variable '$y'"),
        ("{{index .List 9}}", "template: error calling index: index out of range: 9"),
        ("{{len 3}}", "template: error calling len: len of 3"),
        ("{{upper 3}}", "template: error calling upper: expected a string; found 3"),
        ("{{lt 1 `a`}}", "template: error calling lt: incompatible types for comparison"),
        ("{{eq 1 true}}", "template: error calling eq: incompatible types for comparison"),
        ("{{len}}", "template: wrong number of args for len: got 0"),
        ("{{.Name 1}}", "template: can't give argument to non-function"),
        ("{{range .Name}}{{end}}", "template: range can't iterate over app"),
    ],
)
def test_what_the_data_does_not_have_is_told(template: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        render(template)
    assert caught.value.what == message


def test_a_record_says_what_it_has() -> None:
    with pytest.raises(UsageError) as caught:
        render("{{.Record.Arch}}")
    assert caught.value.hint == "it has OS, Architecture"
