// Package wire is the plugin contract's protobuf form: translator.proto, the
// code generated from it, and the conversions between it and package
// translators, as pure functions.
package wire

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative translator.proto
