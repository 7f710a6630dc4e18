import { expect, test } from "vitest";
import { readHistory, historyHash } from "../src/pages/history";
import { entityHash, hashOf, joinRef, parseRoute, splitRef } from "../src/route";

const ODD = ["50", "a/b", "x?y=1&z", "100%", "ü,:", "#/"];

test.each(ODD)("an address brings back an entity with the id %s", (id) => {
  const route = parseRoute(entityHash({ type: "content rating", id }, { to: "movie", why: joinRef({ type: "a/b", id }) }));
  expect(route).toMatchObject({ page: "entity", type: "content rating", id });
  expect(route.options.to).toBe("movie");
  expect(splitRef(route.options.why)).toEqual({ type: "a/b", id });
});

test.each(["", "#", "#/", "#/?x=1"])("%j is the start", (hash) => {
  expect(parseRoute(hash).page).toBe("start");
});

test.each(["#/entity/movie", "#/entity", "#/nothing"])("%s is no page", (hash) => {
  expect(parseRoute(hash).page).toBe("unknown");
});

test("a percent sign typed by hand stays one", () => {
  expect(parseRoute("#/entity/movie/50%").id).toBe("50%");
});

test("empty options are left out", () => {
  expect(hashOf(["map"], { type: "movie", color: undefined, at: "" })).toBe("#/map?type=movie");
});

test("an address brings back a history with its actions", () => {
  const steps = ODD.map((id, position) => (position % 2 ? { id, action: "4:5,%" } : { id, action: undefined }));
  const history = { sequence: "user", user: undefined, steps };
  const back = readHistory(parseRoute(historyHash(history)).options, [{ name: "other" }, { name: "user" }]);
  expect(back).toEqual(history);
});

test("a known user has no steps of the page", () => {
  const options = { user: "42", events: "50" };
  expect(readHistory(options, [{ name: "user" }])).toEqual({ sequence: "user", user: "42", steps: [] });
});
