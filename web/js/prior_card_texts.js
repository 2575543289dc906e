/** The words of the prior's card, by language. What the server says of an error is English. */

export const TEXTS = {
  en: {
    images: "{count} images",
    classes: "{count} classes",
    cells: "{size} cells",
    pixels: "{size} pixels",
    vae: "VAE {format}, {count} channels",
    grain: "with grain",
    noGrain: "no grain",
    mostFrequent: "most frequent class",
    mean: "mean, false colors",
    perClass: "images per class:",
    share: "class {id}: in {images} of {total} images, {percent}% of all cells",
    linked: "The name comes from another node when the graph runs.",
    silent: "The server does not say what is in {name}.",
  },
  zh: {
    images: "{count} 张图像",
    classes: "{count} 个类别",
    cells: "{size} 单元格",
    pixels: "{size} 像素",
    vae: "VAE {format}，{count} 个通道",
    grain: "含颗粒",
    noGrain: "无颗粒",
    mostFrequent: "最常见的类别",
    mean: "均值（伪彩色）",
    perClass: "各类别的图像数：",
    share: "类别 {id}：出现在 {total} 张图像中的 {images} 张，占全部单元格的 {percent}%",
    linked: "名称在运行时由另一个节点提供。",
    silent: "服务器没有返回 {name} 的内容。",
  },
  ja: {
    images: "画像 {count} 枚",
    classes: "{count} クラス",
    cells: "{size} セル",
    pixels: "{size} ピクセル",
    vae: "VAE {format}、{count} チャンネル",
    grain: "粒状感あり",
    noGrain: "粒状感なし",
    mostFrequent: "最も多いクラス",
    mean: "平均（疑似カラー）",
    perClass: "クラスごとの画像数：",
    share: "クラス {id}：{total} 枚中 {images} 枚の画像に出現、全セルの {percent}%",
    linked: "名前は実行時に別のノードから渡されます。",
    silent: "サーバーから {name} の内容を取得できませんでした。",
  },
  ko: {
    images: "이미지 {count}장",
    classes: "클래스 {count}개",
    cells: "{size} 셀",
    pixels: "{size} 픽셀",
    vae: "VAE {format}, {count}채널",
    grain: "그레인 있음",
    noGrain: "그레인 없음",
    mostFrequent: "가장 많이 나타난 클래스",
    mean: "평균(의사 색상)",
    perClass: "클래스별 이미지 수:",
    share: "클래스 {id}: 이미지 {total}장 중 {images}장에 있음, 전체 셀의 {percent}%",
    linked: "이름은 실행할 때 다른 노드에서 옵니다.",
    silent: "서버에서 {name}의 내용을 받지 못했습니다.",
  },
};

/** A text in a language, English where there is none, with its {gaps} filled from `values`. */
export function text(language, key, values = {}) {
  const words = (TEXTS[language] ?? TEXTS.en)[key];
  return words.replace(/\{(\w+)\}/g, (_, gap) => String(values[gap]));
}
