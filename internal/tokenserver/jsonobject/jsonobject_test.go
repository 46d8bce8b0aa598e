// SPDX-License-Identifier: Apache-2.0

package jsonobject_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/jsonobject"
)

var generous = jsonobject.Rules{Members: 1 << 20}

func TestAnObjectIsReadAsEncodingJSONReadsIt(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{}`, " \t\r\n{ } \n", `{"a":1,"b":-1.5e3,"c":true,"d":false,"e":null,"f":"x"}`, `{"a":[],"b":[1,[2,{"c":[]}] , "x"]}`,
		`{ "a" : { "b" : { } } , "c" : [ null , { } ] }`, `{"\u0061\n":"\"\\\/\b\u00e9\ud83d\ude00\\u0000"}`, `{"a":"\ud800"}`, `{"":"","ä":"ö"}`,
		`{"a":{"x":1},"b":{"x":1},"A":1}`,
	} {
		got, err := generous.Read([]byte(text))
		require.NoError(t, err, text)
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		var want map[string]any
		require.NoError(t, decoder.Decode(&want))
		require.Equal(t, want, got, text)
	}
}

func TestWhatIsRefusedAndWhere(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}" }
	few := jsonobject.Rules{Members: 4, Fold: true}
	for text, want := range map[string]string{
		``:                                "malformed JSON at line 1, column 1: unexpected end of JSON input",
		"{\n \"a\":":                      "malformed JSON at line 2, column 6: unexpected end of JSON input",
		"{} {}":                           "malformed JSON at line 1, column 5: invalid character '{' after top-level value",
		`{"a":1,}`:                        "malformed JSON at line 1, column 9: invalid character '}' looking for beginning of object key string",
		"{\"a\":\"\x00\"}":                `malformed JSON at line 1, column 8: invalid character '\x00' in string literal`,
		`[]`:                              "it must be a JSON object, got an array",
		` null`:                           "it must be a JSON object, got null",
		`7`:                               "it must be a JSON object, got a number",
		`"x"`:                             "it must be a JSON object, got a string",
		`true`:                            "it must be a JSON object, got a boolean",
		"{\"a\":\"\xff\"}":                "it is not valid UTF-8 at line 1, column 7",
		`{"a":"x\u0000"}`:                 "a: has a NUL character at line 1, column 8",
		`{"\u0000":1}`:                    "it has a NUL character at line 1, column 3",
		"{\"a\":1,\n\"a\":2}":             "a: appears twice at line 2, column 1",
		`{"a":1,"\u0061":2}`:              "a: appears twice at line 1, column 8",
		`{"sub":1,"SUB":2}`:               "SUB: appears twice at line 1, column 10",
		`{"kid":1,"Kid":2}`:               "Kid: appears twice at line 1, column 10",
		`{"a":[1,{"b":[{"c":1,"c":2}]}]}`: "a[1].b[0].c: appears twice at line 1, column 22",
		`{"a":1,"b":{"c":1,"d":1,"e":1}}`: "b: has more than 4 members at line 1, column 25",
		deep(16):                          "a" + strings.Repeat("[0]", 15) + ": nested too deep at line 1, column 21",
	} {
		_, err := few.Read([]byte(text))
		require.EqualError(t, err, want, text)
		var e *jsonobject.Error
		require.ErrorAs(t, err, &e)
		require.Positive(t, e.Line*e.Column)
	}
	_, err := few.Read([]byte(deep(15)))
	require.NoError(t, err)
	_, err = few.Read([]byte(`{"` + strings.Repeat("é", 100) + `":1,"` + strings.Repeat("é", 100) + `":1}`))
	require.Less(t, len(err.Error()), 200, "a name does not fill the message")
}

func TestOnlyWhatIsKnownIsMadeButAllIsChecked(t *testing.T) {
	t.Parallel()
	rules := jsonobject.Rules{Members: 100, Known: func(name string) bool { return name == "a" }}
	got, err := rules.Read([]byte(`{"a":{"b":[1,"x"]},"b":{"a":[1]},"c":[{"d":"e"}],"d":"x"}`))
	require.NoError(t, err)
	require.Equal(t, map[string]any{"a": map[string]any{"b": []any{json.Number("1"), "x"}}, "b": nil, "c": nil, "d": nil}, got)
	_, err = rules.Read([]byte(`{"x":[{"y":1,"y":2}]}`))
	require.EqualError(t, err, "x[0].y: appears twice at line 1, column 14")
}

func TestNullIsNull(t *testing.T) {
	t.Parallel()
	require.True(t, jsonobject.IsNull([]byte(" null\n")))
	for _, text := range []string{"", "nul", "null null", "{}", `"null"`} {
		require.False(t, jsonobject.IsNull([]byte(text)))
	}
}

// TestTheCostGrowsWithTheText counts allocations: eight times the text may cost
// eight times as many, not sixty-four.
func TestTheCostGrowsWithTheText(t *testing.T) {
	members := func(n int) []byte {
		var text bytes.Buffer
		for i := range n {
			fmt.Fprintf(&text, `,"member%d":%d`, i, i)
		}
		return []byte("{" + text.String()[1:] + "}")
	}
	shapes := map[string]func(n int) []byte{
		"members":          members,
		"nested members":   func(n int) []byte { return []byte(`{"a":` + string(members(n)) + `}`) },
		"elements":         func(n int) []byte { return []byte(`{"a":[` + strings.Repeat("1,", n) + `1]}`) },
		"objects":          func(n int) []byte { return []byte(`{"a":[` + strings.Repeat(`{"b":{"c":[]}},`, n) + `1]}`) },
		"escapes":          func(n int) []byte { return []byte(`{"a":"` + strings.Repeat(`\u00e9`, n) + `"}`) },
		"text in no UTF-8": func(n int) []byte { return []byte(`{"a":"` + strings.Repeat("x", n) + "\xff\"}") },
	}
	for name, shape := range shapes {
		for _, rules := range []jsonobject.Rules{generous, {Members: 1 << 20, Fold: true, Known: func(string) bool { return false }}} {
			cost := func(n int) (float64, float64) {
				text := shape(n)
				count := testing.AllocsPerRun(3, func() { _, _ = rules.Read(text) })
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, _ = rules.Read(text)
				runtime.ReadMemStats(&after)
				return count, float64(after.TotalAlloc - before.TotalAlloc)
			}
			count, size := cost(1000)
			count8, size8 := cost(8000)
			require.LessOrEqual(t, count8, 10*count+20, "%s: allocations", name)
			require.LessOrEqual(t, size8, 16*size+4096, "%s: bytes", name) // a map doubles
		}
	}
}

// FuzzRead compares with encoding/json: what is taken means the same there, and
// what is refused is refused there too or for one of our reasons.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{} x`, `{"a":1,"a":2}`, `{"a":{"b":[1,2e5,"\u00e9"]}}`, `{"a":"\ud800\u0000"}`, `null`, "{\"\xff\":1}", `{"a":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}`,
		`{"k":1,"K":2}`, "{\"a\":-0,\"b\":[true,false , null]}", `{"a":"\\u0000\\"}`,
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, foldNames bool) {
		rules := jsonobject.Rules{Members: 50, Fold: foldNames}
		got, err := rules.Read(text)
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		var want map[string]any
		if err == nil {
			require.NoError(t, decoder.Decode(&want))
			require.Equal(t, want, got)
			rules.Known = func(string) bool { return false }
			names, err := rules.Read(text)
			require.NoError(t, err)
			require.Len(t, names, len(got))
			return
		}
		var e *jsonobject.Error
		require.ErrorAs(t, err, &e)
		require.Less(t, len(e.Error()), 3000)
		require.Equal(t, e.Kind == jsonobject.Malformed, !json.Valid(text) && e.Kind != jsonobject.NotText)
	})
}
