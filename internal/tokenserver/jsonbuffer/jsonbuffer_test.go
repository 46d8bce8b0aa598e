// SPDX-License-Identifier: Apache-2.0

package jsonbuffer_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/jsonbuffer"
)

func TestItIsWhatMarshalReturns(t *testing.T) {
	for range 3 { // memory that held something else before, and what failed, changes nothing
		for _, value := range []any{nil, "a\n", "<&>\u2028", json.RawMessage(`{"a":1}`), map[string]any{"b": []int{1}, "a": nil}, strings.Repeat("x", 100<<10)} {
			want, err := json.Marshal(value)
			require.NoError(t, err)
			require.NoError(t, jsonbuffer.Encode(value, func(text []byte) { require.Equal(t, string(want), string(text)) }))
		}
		err := jsonbuffer.Encode([]any{"before", math.NaN()}, func([]byte) { t.Error("called") })
		require.Error(t, err)
	}
}

func TestOneInAnother(t *testing.T) {
	require.NoError(t, jsonbuffer.Encode("outer", func(outer []byte) {
		require.NoError(t, jsonbuffer.Encode("inner", func(inner []byte) { require.Equal(t, `"inner"`, string(inner)) }))
		require.Equal(t, `"outer"`, string(outer))
	}))
}
