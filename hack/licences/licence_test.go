// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClassify(t *testing.T) {
	for name, row := range map[string]struct{ text, want string }{
		"Apache in its usual lines": {"Apache License\n    Version 2.0, January 2004\n", "Apache-2.0"},
		"MIT with broken lines":     {"Permission is hereby\ngranted, free of charge, to any person", "MIT"},
		"BSD with its third clause": {"Redistribution and use in source and binary forms\nNeither the name of the copyright", "BSD-3-Clause"},
		"BSD without it":            {"Redistribution and use in source and binary forms", "BSD-2-Clause"},
		"GPL is told from others":   {"GNU GENERAL PUBLIC LICENSE\nVersion 3", "GPL"},
		"a text we do not know":     {"All rights reserved.", ""},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, row.want, classify(row.text))
		})
	}
}
