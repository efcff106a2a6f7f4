// A Vite plugin: the page names what its first view is made of, so that the browser asks for all of it at once and not part after part.
import type { HtmlTagDescriptor, Plugin } from "vite";

export function first(view: string): Plugin {
  return {
    name: "first",
    apply: "build",
    transformIndexHtml: {
      order: "post",
      handler(html, { bundle = {} }) {
        const begin = Object.values(bundle).find((one) => one.type === "chunk" && one.facadeModuleId?.endsWith(view));
        if (!begin) throw new Error(`${view} is in no chunk of its own`);
        const chunks = new Set([begin.fileName]);
        const styles = new Set<string>();
        for (const name of chunks) {
          const chunk = bundle[name];
          if (chunk?.type !== "chunk") continue;
          for (const more of chunk.imports) chunks.add(more);
          for (const style of chunk.viteMetadata?.importedCss ?? []) styles.add(style);
        }
        const tag = (rel: string, name: string): HtmlTagDescriptor => ({ tag: "link", attrs: { rel, crossorigin: true, href: `/${name}` }, injectTo: "head" });
        const fresh = (name: string) => !html.includes(`/${name}"`);
        return [...[...chunks].filter(fresh).map((name) => tag("modulepreload", name)), ...[...styles].filter(fresh).map((name) => tag("stylesheet", name))];
      },
    },
  };
}
