/**
 * Fewer points where there is no graphics card: a browser that draws on the CPU takes some 10 µs for each.
 */

const ON_CPU = /swiftshader|llvmpipe|softpipe|software|basic render/i;

/** Points that are drawn on the CPU: at rest, and while the map moves. */
export const NUM_AT_REST = 50_000;
export const NUM_MOVING = 8_000;

export type Renderer = "card" | "cpu" | "none";

/** What draws in this browser; `none` where it has no WebGL 2. */
export function findRenderer(): Renderer {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) return "none";
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const name = String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return ON_CPU.test(name) ? "cpu" : "card";
}

/** Every n-th of N points: `values` has `size` numbers for each. */
export function everyNth<T extends Float32Array | Uint8Array>(values: T, size: number, step: number): T {
  if (step === 1) return values;
  const length = Math.floor(values.length / size / step);
  const few = new (values.constructor as new (length: number) => T)(length * size);
  for (let point = 0; point < length; point++) {
    few.set(values.subarray(point * step * size, (point * step + 1) * size) as never, point * size);
  }
  return few;
}
