// The page begins here.
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/rows.css";
import { mount } from "svelte";
import App from "./App.svelte";

// A stylesheet that did not come is asked for again: what it is of is shown without it meanwhile, and nothing else asks for it a second time.
document.addEventListener(
  "error",
  ({ target }) => {
    if (target instanceof HTMLLinkElement && target.rel === "stylesheet") setTimeout(() => target.replaceWith(target.cloneNode()), 2000);
  },
  true,
);

mount(App, { target: document.getElementById("app")! });
