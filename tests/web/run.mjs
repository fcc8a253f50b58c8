// node run.mjs FOLDER…: run the requests of exported folders' samples.json, one after the other.
//
// Prints for each folder a list with {name: [numbers]} for each request.

import * as ort from "onnxruntime-web/wasm";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { toNumbers, toTensor } from "./tensors.mjs";

ort.env.wasm.numThreads = 1;

const read = (...path) => JSON.parse(readFileSync(join(...path), "utf8"));

async function answers(folder) {
  const edge = read(folder, "edge.json");
  const session = await ort.InferenceSession.create(readFileSync(join(folder, edge.file.path)), {
    executionProviders: ["wasm"],
  });
  const outputs = [];
  for (const request of read(folder, edge.samples.path).requests) {
    const feeds = edge.inputs.map((spec) => [spec.name, toTensor(spec, request.inputs[spec.name])]);
    const answer = await session.run(Object.fromEntries(feeds));
    outputs.push(
      Object.fromEntries(edge.outputs.map(({ name }) => [name, toNumbers(answer[name])])),
    );
  }
  await session.release();
  return outputs;
}

const all = [];
for (const folder of process.argv.slice(2)) {
  all.push(await answers(folder));
}
process.stdout.write(JSON.stringify(all));
