/**
 * Where the name in a loader's input comes from.
 *
 * It is set on the loader itself, comes from another node, or is an input of the subgraph that the
 * loader is in: then it is set on that subgraph's node, maybe several levels up.
 */
import { app } from "../../../scripts/app.js";

export const NODE = "SCP_LoadPrior";
const INPUT = "prior_name";

/** Every node of the workflow, those in subgraphs too. */
export function allNodes() {
  const root = app.rootGraph;
  return [root, ...root.subgraphs.values()].flatMap((graph) => graph.nodes);
}

const slotOf = (node, input) => node.inputs.findIndex((slot) => slot.name === input);

// By the graph's links: nodes of subgraphs answer the question for their outputs.
function linkTo(node, input) {
  const slot = slotOf(node, input);
  const same = (link) => String(link.target_id) === String(node.id) && link.target_slot === slot;
  return [...node.graph.links.values()].find(same);
}

/** The inputs that end as the name in a loader: its own, or those of a subgraph's node. */
export function nameInputs(node) {
  if (node.comfyClass === NODE) return [INPUT];
  if (!node.isSubgraphNode?.()) return [];
  const inner = node.subgraph;
  const leads = ({ linkIds }) =>
    linkIds.some((id) => {
      const link = inner.getLink(id);
      const target = link && inner.getNodeById(link.target_id);
      return target && nameInputs(target).includes(target.inputs[link.target_slot]?.name);
    });
  return inner.inputs.filter(leads).map((slot) => slot.name);
}

/**
 * The widgets that may set the name in this input: one, or as many as there are nodes of the
 * subgraph that it is in; `undefined` among them where another node's output sets it.
 */
export function nameWidgets(node, input) {
  const link = linkTo(node, input);
  if (!link) return [node.widgets?.find((widget) => widget.name === input)];
  if (String(link.origin_id) !== String(node.graph.inputNode?.id)) return [undefined];
  const outer = node.graph.inputs[link.origin_slot].name;
  const hosts = allNodes().filter((host) => host.subgraph === node.graph);
  return hosts.flatMap((host) => nameWidgets(host, outer));
}
