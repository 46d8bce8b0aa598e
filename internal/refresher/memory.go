// SPDX-License-Identifier: Apache-2.0

package refresher

import "errors"

// MemoryOutput publishes nothing: the token is had from Engine.Token.
type MemoryOutput struct{}

var _ Output = MemoryOutput{}

// Load implements Output.
func (MemoryOutput) Load() (*Held, error) { return nil, errors.New("memory starts empty") }

// Publish implements Output.
func (MemoryOutput) Publish(*Held, error) error { return nil }
