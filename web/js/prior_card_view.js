/** The card itself: what is shown of a prior, and how. */
import { app } from "../../../scripts/app.js";
import { element } from "./elements.js";
import { text } from "./prior_card_texts.js";

export const LOCALE = "Comfy.Locale";

/**
 * In pixels: what the facts, the pictures and two rows of classes need on a node as narrow as the
 * host allows.
 */
export const LEAST_HEIGHT = 260;

// The card is as large as its node lets it be: what it holds must not enlarge a node of HTML.
export const STYLE = `
.scp-prior-card {
  container-type: size;
  box-sizing: border-box; display: flex; flex-direction: column; gap: 6px;
  height: 100%; min-height: ${LEAST_HEIGHT - 20}px; padding: 8px; overflow: hidden;
  border: 1px solid var(--border-color, #4e4e4e); border-radius: 6px;
  background: var(--comfy-input-bg, #222); color: var(--input-text, #ddd);
  font: 12px/1.35 sans-serif;
}
.scp-prior-card > * { flex: none; margin: 0; }
.scp-prior-card[data-state="reading"] > * { opacity: 0.5; }
.scp-prior-card .scp-dataset {
  font-weight: bold; overflow-wrap: anywhere; overflow: hidden;
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2;
}
.scp-prior-card .scp-facts, .scp-prior-card figcaption, .scp-prior-card small {
  color: var(--descrip-text, #999); font-size: inherit;
}
.scp-prior-card .scp-facts span { white-space: nowrap; }
.scp-prior-card .scp-pictures {
  flex: 0 1 auto; min-height: 70px; max-height: 55cqh; display: flex; gap: 8px;
}
.scp-prior-card figure {
  flex: 1 1 0; min-width: 0; min-height: 0; margin: 0; display: flex; flex-direction: column;
}
.scp-prior-card figure div { flex: 0 1 auto; min-height: 0; position: relative; }
.scp-prior-card img {
  position: absolute; inset: 0; width: 100%; height: 100%;
  object-fit: contain; object-position: left top; image-rendering: pixelated;
}
.scp-prior-card figcaption {
  flex: none; white-space: nowrap; overflow: hidden; text-overflow: ellipsis;
}
.scp-prior-card ul {
  flex: 1 1 0; min-height: 34px; max-height: max-content; overflow-y: auto; padding: 0;
  display: flex; flex-wrap: wrap; align-content: flex-start; gap: 2px 10px;
  list-style: none; scrollbar-width: thin;
}
.scp-prior-card li { display: flex; align-items: center; gap: 4px; white-space: nowrap; }
.scp-prior-card i { width: 10px; height: 10px; border: 1px solid var(--border-color, #4e4e4e); }
.scp-prior-card .scp-error {
  flex: 1 1 0; overflow: auto; overflow-wrap: anywhere;
  color: color-mix(in srgb, var(--error-text, #ff4444) 75%, var(--input-text, #ddd));
}
/* Through the card the node can be moved, and the graph zoomed; only the list takes the pointer. */
.dom-widget:has(> .scp-prior-card) { pointer-events: none !important; }
.scp-prior-card ul, .scp-prior-card .scp-error { pointer-events: auto; }
`;

export const language = () => app.extensionManager?.setting?.get(LOCALE);
export const say = (key, values) => text(language(), key, values);

function picture(source, caption, [rows, columns]) {
  const image = element("img");
  image.src = source;
  image.alt = caption;
  const frame = element("div", "", image);
  frame.style.aspectRatio = `${columns} / ${rows}`;
  return element("figure", "", element("figcaption", "", caption), frame);
}

function classItem({ id, name, color, images, share }, total) {
  const swatch = element("i");
  swatch.style.background = color;
  const item = element("li", "", swatch, name, element("small", "", String(images)));
  const percent = (100 * share).toFixed(1);
  item.title = say("share", { id, images, total, percent });
  return item;
}

function facts(card) {
  const [rows, columns] = card.grid;
  const all = [
    say("images", { count: card.images }),
    ...(card.classes ? [say("classes", { count: card.classes.length })] : []),
    say("cells", { size: `${columns}x${rows}` }),
    say("pixels", { size: card.pixels.join("x") }),
    say("vae", { format: card.latent_format, count: card.channels }),
    say(card.grain ? "grain" : "noGrain"),
  ];
  if (card.held_out) {
    const { images, best, explained } = card.held_out;
    all.push(say("heldOut", { count: images, mode: best, percent: Math.round(100 * explained) }));
  }
  // A line may break after a dot, never before one or within a fact.
  const dotted = all.map((fact, i) => (i < all.length - 1 ? `${fact} \u00b7` : fact));
  const parts = dotted.flatMap((fact) => [element("span", "", fact), " "]);
  return element("p", "scp-facts", ...parts);
}

/** The parts of a card. name: the prior's, its file. card: what the server said of it, or {error}. */
export function content(name, card) {
  if (card.error) return [element("p", "scp-error", card.error)];
  const dataset = element("p", "scp-dataset", card.dataset || name);
  dataset.title = dataset.textContent;
  const pictures = element("div", "scp-pictures");
  const mean = picture(card.mean_picture, say("mean"), card.grid);
  if (!card.classes) {
    pictures.append(mean);
    return [dataset, facts(card), pictures, element("p", "scp-alone", say("imagesAlone"))];
  }
  pictures.append(picture(card.class_picture, say("mostFrequent"), card.grid), mean);
  const heading = element("li", "", element("small", "", say("perClass")));
  const classes = card.classes.map((row) => classItem(row, card.images));
  const list = element("ul", "", heading, ...classes);
  list.addEventListener("wheel", zoomWhereNothingScrolls);
  return [dataset, facts(card), pictures, list];
}

function zoomWhereNothingScrolls(event) {
  const list = event.currentTarget;
  // Nodes that are themselves made of HTML pass the wheel on by themselves.
  if (window.LiteGraph?.vueNodesMode || list.scrollHeight > list.clientHeight) return;
  app.canvas.processMouseWheel(event);
}
