// From the documents of an exported folder to onnxruntime-web's tensors and back.

import * as ort from "onnxruntime-web/wasm";

const ARRAYS = {
  BOOL: ["bool", Uint8Array],
  UINT8: ["uint8", Uint8Array],
  UINT16: ["uint16", Uint16Array],
  UINT32: ["uint32", Uint32Array],
  UINT64: ["uint64", BigUint64Array],
  INT8: ["int8", Int8Array],
  INT16: ["int16", Int16Array],
  INT32: ["int32", Int32Array],
  INT64: ["int64", BigInt64Array],
  FP32: ["float32", Float32Array],
  FP64: ["float64", Float64Array],
};

/** One row of an input; `spec` is its entry in edge.json, `values` are as in samples.json. */
export function toTensor(spec, values) {
  const [name, kind] = ARRAYS[spec.datatype];
  const shape = spec.shape.map((size) => (size < 0 ? 1 : size));
  const array = name.endsWith("int64") ? kind.from(values, BigInt) : kind.from(values);
  return new ort.Tensor(name, array, shape);
}

/** Values of a tensor as plain numbers. */
export function toNumbers(tensor) {
  return Array.from(tensor.data, Number);
}

/** A tensor of ones for an input as a session describes it; variable dimensions are 1. */
export function ones(input) {
  const shape = input.shape.map((size) => (typeof size === "number" ? size : 1));
  const elements = shape.reduce((product, size) => product * size, 1);
  const [, kind] = Object.values(ARRAYS).find(([name]) => name === input.type);
  const one = input.type.endsWith("int64") ? 1n : 1;
  return new ort.Tensor(input.type, new kind(elements).fill(one), shape);
}
