// SPDX-License-Identifier: Apache-2.0

// Package schema runs the rules of the CRDs and of config/admission in process,
// by the API server's own libraries, and compares them with the plan. Rules of a
// kind that only an API server has, such as how they come together, are in
// test/admission.
package schema
