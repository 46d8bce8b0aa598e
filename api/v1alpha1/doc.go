// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the kinds of the API group connectedapps.dev: their
// types, validation rules and the words used in their status. It has no
// behaviour beyond getters.
//
// No field of a spec has a default in its schema, so that what a person or a
// pipeline applied is what the API server returns; the manager applies
// defaults in memory and the field's comment names them.
//
// +kubebuilder:object:generate=true
// +groupName=connectedapps.dev
package v1alpha1
