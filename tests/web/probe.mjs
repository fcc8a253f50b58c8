// node probe.mjs FOLDER: open every model file there and run it once on ones.
//
// Prints {problems: {file: null where it ran, else the error}, heap_bytes: the heap afterwards}.

import { heapBytes } from "./heap.mjs";
import * as ort from "onnxruntime-web/wasm";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ones } from "./tensors.mjs";

const folder = process.argv[2];
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "fatal";

async function problem(path) {
  try {
    const session = await ort.InferenceSession.create(readFileSync(path), {
      executionProviders: ["wasm"],
      logSeverityLevel: 4,
    });
    await session.run(
      Object.fromEntries(session.inputMetadata.map((input) => [input.name, ones(input)])),
    );
    await session.release();
    return null;
  } catch (error) {
    return String(error);
  }
}

const problems = {};
for (const file of readdirSync(folder).sort()) {
  problems[file] = await problem(join(folder, file));
}
process.stdout.write(JSON.stringify({ problems, heap_bytes: heapBytes() }));
