"""Words as they are compared: folded spelling, and the basic forms that an inflected word may have.

Case and accents do not matter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

_ACCENTS = re.compile("[\u0300-\u036f]")
_LIGATURES = str.maketrans({"œ": "oe", "æ": "ae"})
_UMLAUTS = (("ae", "a"), ("oe", "o"), ("ue", "u"))
_SIMPLIFIED = str.maketrans(
    "區樹雲園場叢燒綠蓋溼濕灘農體車鹽葉積樓帶紅過電庫澤黃風廠養質麥開陸乾機種築跡礦間頭線長沒"
    "邊層霧馬鐵業濱陰頂橋內針礫溝護壩闊網藍發災凍島節磧裡裏魚塊巖幹窪溫鄉鬱雜墾熱葦鋪點爾圍採"
    "蔥莊動鹼臺糧煙鋼館無運輸設楊棗穀鎮裝貨禿蝕灣澇汙蓮國經條倉陽營環產龍兒亞樺荊壟學氣豬鹹蝦"
    "曬處濃蘆閉飛蔭鳥銀櫻膠雞棄樂塗結貧儲牆棟軌亂毀燬擋鑽渾淺蕩時觀籬態屬獨櫟楓櫚濟鵑檸欄欖類"
    "墳輪單藥菸蘋蘿鳳爛會務軍遊燈盤輕殼塵著廢狀洩峽漁噴東還滿喬齡濫緣側懸鈴檳歐檉圓崗喫見賽後"
    "窩棲鬧衛衞瀝別廣碼櫃遺聯殘極計劃稈團颱靜構諾澗辮領滯漲蘢來蘚復離氾蟲岡蘭榿駱駝倫豐樣標閒"
    "飼雙蕎帳獼異捲麗薑蔔際縣潤軟難徑閘煉費組劇磚廈違圖辦購賣飯廳賓廟廁繞棧龜沖麼蕪遷鈣漬漿瑪"
    "鋒與艦柵壓號脈緯價匯導彈閃錨權資總臨軛瀉潟閭涇遠穩澱塢飲釣勢蒼純蠟櫸麵歡聖誕錦瘋纓繡櫨遼"
    "薩納貝嶺準澆拋複貯紗蠶鷹臍鮮參蔘苧劍罌試驗疇鶴華紙蠣舊戶規稅擴張籃題攔門變編預製窯氈佔書"
    "醫診寫郵覽宮監獄數據囪卻廄涼殯儀攤輔驛轉連進騎橫樑專應轍惡剛濘細鵝斷頁終萬餘嶽縫錐現響燼"
    "強傷烏對聲颶輻籠繚嶼嘯隻請這個們為從說給顯畫讓幫謝嗎較於兩畝頃億選擇簡範誰將當關項佈滅檢"
    "測識稱認話語該謂讀調論證記許訊訂詳緊續維繼練績約級絕統絲縮縱織罷羅職聽興舉藝虧術衝補褲襯"
    "視親覺觸訴負財責貴買賬賺趕趙踐躍輛輩辭邏鄧鄰醬釋銷鍵鏡閱闆陣陳隊階隨險雖靈頓順頻顆願顧驅"
    "驚髮鬆齊齒勻纖傳優償儘劑勞勝勵協厲啟喪嚴囑執報墊壇壞壯夠夢奪奮媽嬰孫實寧審寬寶尋屆屢歲師"
    "幣幾廚廬彎彙徵徹恆愛慣慮慶憂憶懷戰戲撲擁擊擔擠擬攝敗敵斂暫曆曠晝暈暢榮槍樸歷歸決況淚減湧"
    "潔潛澀濤瀏爐牽犧獎獲瑣畢療盜盡確禮穫窮競筆筍簽籌紀紛紹絡綜綱緩緒繪",
    "区树云园场丛烧绿盖湿湿滩农体车盐叶积楼带红过电库泽黄风厂养质麦开陆干机种筑迹矿间头线长没"
    "边层雾马铁业滨阴顶桥内针砾沟护坝阔网蓝发灾冻岛节碛里里鱼块岩干洼温乡郁杂垦热苇铺点尔围采"
    "葱庄动碱台粮烟钢馆无运输设杨枣谷镇装货秃蚀湾涝污莲国经条仓阳营环产龙儿亚桦荆垄学气猪咸虾"
    "晒处浓芦闭飞荫鸟银樱胶鸡弃乐涂结贫储墙栋轨乱毁毁挡钻浑浅荡时观篱态属独栎枫榈济鹃柠栏榄类"
    "坟轮单药烟苹萝凤烂会务军游灯盘轻壳尘着废状泄峡渔喷东还满乔龄滥缘侧悬铃槟欧柽圆岗吃见赛后"
    "窝栖闹卫卫沥别广码柜遗联残极计划秆团台静构诺涧辫领滞涨茏来藓复离泛虫冈兰桤骆驼伦丰样标闲"
    "饲双荞帐猕异卷丽姜卜际县润软难径闸炼费组剧砖厦违图办购卖饭厅宾庙厕绕栈龟冲么芜迁钙渍浆玛"
    "锋与舰栅压号脉纬价汇导弹闪锚权资总临轭泻泻闾泾远稳淀坞饮钓势苍纯蜡榉面欢圣诞锦疯缨绣栌辽"
    "萨纳贝岭准浇抛复贮纱蚕鹰脐鲜参参苎剑罂试验畴鹤华纸蛎旧户规税扩张篮题拦门变编预制窑毡占书"
    "医诊写邮览宫监狱数据囱却厩凉殡仪摊辅驿转连进骑横梁专应辙恶刚泞细鹅断页终万余岳缝锥现响烬"
    "强伤乌对声飓辐笼缭屿啸只请这个们为从说给显画让帮谢吗较于两亩顷亿选择简范谁将当关项布灭检"
    "测识称认话语该谓读调论证记许讯订详紧续维继练绩约级绝统丝缩纵织罢罗职听兴举艺亏术冲补裤衬"
    "视亲觉触诉负财责贵买账赚赶赵践跃辆辈辞逻邓邻酱释销键镜阅板阵陈队阶随险虽灵顿顺频颗愿顾驱"
    "惊发松齐齿匀纤传优偿尽剂劳胜励协厉启丧严嘱执报垫坛坏壮够梦夺奋妈婴孙实宁审宽宝寻届屡岁师"
    "币几厨庐弯汇征彻恒爱惯虑庆忧忆怀战戏扑拥击担挤拟摄败敌敛暂历旷昼晕畅荣枪朴历归决况泪减涌"
    "洁潜涩涛浏炉牵牺奖获琐毕疗盗尽确礼获穷竞笔笋签筹纪纷绍络综纲缓绪绘",
)
_SHORTEST_STEM = 3

_ENDINGS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": (("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("ves", "fe")),
    "es": (
        *(("s", ""), ("es", ""), ("ces", "z")),
        *(("ito", "o"), ("itos", "o"), ("ita", "a"), ("itas", "a")),
        *(("guito", "go"), ("guitos", "go"), ("quito", "co"), ("quitos", "co")),
        *(("cito", ""), ("citos", ""), ("cita", ""), ("citas", ""), ("ecito", ""), ("ecitos", "")),
    ),
    "pt": (
        *(("s", ""), ("es", ""), ("oes", "ao"), ("aes", "ao"), ("ns", "m")),
        *(("ais", "al"), ("eis", "el"), ("ois", "ol"), ("uis", "ul"), ("is", "il")),
        *(("inho", "o"), ("inhos", "o"), ("inha", "a"), ("inhas", "a")),
        *(("guinho", "go"), ("guinhos", "go"), ("quinho", "co"), ("quinhos", "co")),
        *(("zinho", ""), ("zinhos", ""), ("zinha", ""), ("zinhas", "")),
    ),
    "fr": (("s", ""), ("x", ""), ("aux", "al"), ("aux", "ail")),
    "de": (
        *(("e", ""), ("en", ""), ("n", ""), ("s", ""), ("es", ""), ("er", ""), ("ern", "")),
        *(("em", ""), ("chen", ""), ("chens", ""), ("lein", ""), ("leins", "")),
    ),
    "zh": (),
}
"""By language: an ending of plurals, cases or diminutives, and what the basic form has instead."""


_DERIVATIONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": (
        *(("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"), ("er", ""), ("er", "e")),
        *(("ers", ""), ("ers", "e"), ("ly", "")),
    ),
}
"""Likewise for verb forms and other words that are made of a word."""

AREA_ENDING = re.compile(
    r"(?:(?P<near>nahe?|naher|nahen|nahes)"
    r"|(?:grund)?flache|gebiete?s?|bereiche?s?|zone|stucke?s?|anteile?s?|insel|parzelle|maske"
    r"|pixel|ebene|layer|teile?s?|areale?s?|reste?s?|schicht|klasse|bedeckung|decke|bestande?s?"
    r"|umrisse?s?|grundrisse?s?|polygone?s?)n?$"
)
"""Second part of a German compound whose first part says what covers the land, folded."""


def fold(text: str, language: str) -> str:
    """Small letters without accents; ß is ss, German ä, ae and a are one, Chinese is simplified.

    Args:
        text: a word or a whole list of words.
        language: ISO 639-1 code.
    """
    text = text.casefold()
    if not text.isascii():
        text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text)).translate(_LIGATURES)
    if language == "de":
        for written, folded in _UMLAUTS:
            text = text.replace(written, folded)
    elif language == "zh":
        text = text.translate(_SIMPLIFIED)
    return text


def basic_forms(word: str, language: str) -> Iterator[str]:
    """What a folded word may be an inflected form of, by the regular endings of the language.

    Args:
        word: folded.
        language: ISO 639-1 code.
    """
    return _without(_ENDINGS[language], word)


def derived_from(word: str, language: str) -> Iterator[str]:
    """What a folded word may be derived from, as "counting" is from "count".

    Args:
        word: folded.
        language: ISO 639-1 code.
    """
    return _without(_DERIVATIONS.get(language, ()), word)


def _without(endings: Iterable[tuple[str, str]], word: str) -> Iterator[str]:
    for ending, replacement in endings:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            yield word[: len(word) - len(ending)] + replacement
