// The engine's Worker: loads the wasm module, which takes the message handler over and reports that it has started.
import "{{asset:store.js}}";
import init from "{{asset:engine.js}}";

init({ module_or_path: "{{asset:engine_bg.wasm}}" }).catch((error) => {
  // Thrown outside the promise, so that the page hears of it through the Worker's `error` event.
  setTimeout(() => { throw error; });
});
