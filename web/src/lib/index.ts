// SPDX-License-Identifier: Apache-2.0
//
// What the npm package `plimsoll-client` has (web/client).
export * from './resource-manager'
export * from './quality-tester'
export * from './event-reader'
export { EventStream, type Connection, type EventStreamOptions, type PlimsollEvent } from './event-stream'
