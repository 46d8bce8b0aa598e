// SPDX-License-Identifier: Apache-2.0

// Package jsonbuffer encodes what each answer and each token holds into memory that
// is used again.
package jsonbuffer

import (
	"bytes"
	"encoding/json"
	"sync"
)

// large is from which size on memory is not kept for the next.
const large = 64 << 10

type buffer struct {
	bytes.Buffer
	encoder *json.Encoder
}

var buffers = sync.Pool{New: func() any {
	b := &buffer{}
	b.encoder = json.NewEncoder(&b.Buffer)
	return b
}}

// Encode calls use with what json.Marshal returns for value. The text is valid until
// use returns. Errors: json.Marshal's, without a call of use.
func Encode(value any, use func(text []byte)) error {
	b := buffers.Get().(*buffer)
	b.Reset()
	err := b.encoder.Encode(value)
	if err == nil {
		use(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	}
	if b.Cap() < large {
		buffers.Put(b)
	}
	return err
}
