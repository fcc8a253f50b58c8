// Import this before onnxruntime-web: it keeps hold of the heap that the runtime makes.

const heaps = [];

WebAssembly.Memory = class extends WebAssembly.Memory {
  constructor(descriptor) {
    super(descriptor);
    heaps.push(this);
  }
};

/** Size of the WebAssembly heap, bytes. It never shrinks. */
export function heapBytes() {
  return heaps.reduce((sum, heap) => sum + heap.buffer.byteLength, 0);
}
