// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title IP2PTrading: trading without a coordinator, through escrow
/// @notice Energy waits in escrow from the offer on, the payment from the match on. Both change hands
/// when the seller's meter has shown the delivery, or when both parties say so; otherwise both go back
/// after the settlement period. What cannot be sent to one party is kept for it, so that nobody can
/// hold up the other. A payment is energy x price, rounded up to the unit: who splits an offer pays
/// for the rounding, and a seller never gets less than its price.
interface IP2PTrading {
    /// @notice Where an order, and the trade that it becomes, stands
    enum Stage {
        None,
        Offered,
        Matched,
        Completed,
        Closed
    }

    /// @notice One trade
    /// @param seller account that gives energy
    /// @param buyer account that pays, zero until matched
    /// @param amount energy in token units (1e18 = 1 kWh), whole Wh; of an offer, what is left of it
    /// @param price smallest currency units per kWh
    /// @param timestamp UTC second of the match, of the offer while unmatched
    /// @param completed true once energy and payment have changed hands
    struct EnergyTrade {
        address seller;
        address buyer;
        uint256 amount;
        uint256 price;
        uint256 timestamp;
        bool completed;
    }

    /* EVENTS */

    /// @notice Energy was offered
    event SellOrderCreated(
        uint256 indexed orderId,
        address indexed seller,
        uint256 amount,
        uint256 price,
        uint256 validUntil
    );

    /// @notice A part of an offer became a trade of its own
    /// @param amount the part, in token units
    /// @param amountLeft what is still offered
    event OrderSplit(
        uint256 indexed orderId, uint256 indexed tradeId, uint256 amount, uint256 amountLeft
    );

    /// @notice An offer, or the part of one under its own id, was taken
    event OrderMatched(uint256 indexed orderId, address indexed buyer, uint256 payment);

    /// @notice The delivery counts from this register on; told again when the meter was reset
    event DeliveryStarted(uint256 indexed tradeId, uint256 productionWh);

    /// @notice The trade's meter was replaced by another
    event MeterFollowed(uint256 indexed tradeId, uint256 indexed deviceId);

    /// @notice A party wants the trade settled, whatever the meter shows
    event SettlementAgreed(uint256 indexed tradeId, address indexed party);

    /// @notice Energy and payment changed hands
    event TradeSettled(
        uint256 indexed tradeId, address indexed seller, address indexed buyer, uint256 payment
    );

    /// @notice What was left of an offer went back
    event SellOrderClosed(uint256 indexed orderId);

    /// @notice Energy and payment went back
    event TradeRefunded(uint256 indexed tradeId);

    /// @notice A payment could not be sent; the account can fetch it
    event ProceedsKept(address indexed account, uint256 amount);

    /// @notice Energy could not be sent; anyone can send it once the account may get it
    event EnergyKept(address indexed account, uint256 amount);

    /* ERRORS */

    error ConfigurationInvalid(string field);
    error AmountInvalid(uint256 amount);
    error AmountAboveOffer(uint256 orderId, uint256 amount, uint256 amountLeft);
    error ValidityInvalid(uint256 validityPeriod);
    error StageInvalid(uint256 id, Stage stage);
    error OrderExpired(uint256 orderId, uint256 validUntil);
    error OrderStillValid(uint256 orderId, uint256 validUntil);
    error OwnOrder(uint256 orderId);
    error PartyBlocked(address account);
    error PaymentInvalid(uint256 given, uint256 needed);
    error PaymentRefused(address recipient, uint256 amount);
    error DeliveryNotShown(uint256 tradeId);
    error DeliveryWasShown(uint256 tradeId);
    error MeterNotFollowed(uint256 tradeId);
    error RefundTooEarly(uint256 tradeId, uint256 refundFrom);
    error NothingKept(address account);
    error TradingPaused();

    /* OFFERS */

    /// @notice Offer energy; the tokens go into escrow
    /// @dev Needs the seller's allowance on the energy token. A seller without a registered meter can
    /// sell too, but the trade then needs both parties' word to settle.
    /// @param amount token units, whole Wh
    /// @param price smallest currency units per kWh
    /// @param validityPeriod seconds for which the offer stands, at most 366 days
    /// @return orderId also the id of the trade that a match makes of it
    function createSellOrder(uint256 amount, uint256 price, uint256 validityPeriod)
        external
        returns (uint256 orderId);

    /// @notice Take all that is left of an offer; the payment goes into escrow
    /// @dev Refused while the energy token forbids the seller to send or the buyer to receive.
    /// Token market: needs the buyer's allowance and no value. Native market: `paymentOf` as value.
    function matchOrder(uint256 orderId) external payable returns (bool);

    /// @notice Take a part of an offer; the payment goes into escrow
    /// @dev As `matchOrder`, with `paymentFor` as value in a native market. Refused when less is left.
    /// @param amount token units, whole Wh
    /// @return tradeId a new id; the order's own when the part is all that is left
    function matchPart(uint256 orderId, uint256 amount) external payable returns (uint256 tradeId);

    /// @notice Close what is left of an offer: the seller at any time, anyone after its expiry
    function closeSellOrder(uint256 orderId) external;

    /* TRADES */

    /// @notice Exchange energy and payment
    /// @dev At once, by anyone, when the seller's meter has shown the delivery, else when both parties
    /// have called. A delivery counts from the registry's reading at the match on if that is no older
    /// than one delivery interval, else from the first one read after the match that is shown here. What
    /// was counted for one trade of this market counts for no other. A meter's next key goes on for it;
    /// after a reset or a suspension the count begins anew; a revoked or suspended meter shows nothing.
    /// A call, the match too, follows a few keys at most and starts no delivery before the last one; while
    /// there are more, anyone's call goes on to the next ones.
    function settleTrade(uint256 tradeId) external;

    /// @notice Give energy and payment back when a trade was not settled in time; anyone may
    /// @dev Not once the delivery is shown: then anyone can settle. `MeterNotFollowed` while the meter
    /// has more next keys than one call follows: call `settleTrade` first, until they are followed.
    function refundTrade(uint256 tradeId) external;

    /// @notice Fetch the caller's payments that could not be sent
    function fetchProceeds(address to) external;

    /// @notice Send an account its energy that could not be sent; anyone may
    /// @dev To nobody else: an account that may get no energy cannot pass it on either.
    function sendKeptEnergy(address account) external;

    /* VIEWS */

    /// @notice An offer or trade
    function tradeOf(uint256 id) external view returns (EnergyTrade memory);

    /// @notice Where an offer or trade stands, and until just before when the offer is valid
    function stageOf(uint256 id) external view returns (Stage stage, uint256 validUntil);

    /// @notice What the buyer pays for a trade, or for all that is left of an offer
    function paymentOf(uint256 id) external view returns (uint256);

    /// @notice What the buyer of a part of an offer pays
    /// @param amount token units, whole Wh
    function paymentFor(uint256 orderId, uint256 amount) external view returns (uint256);

    /// @notice Orders and split-off trades so far; ids count from 1
    function dealCount() external view returns (uint256);

    /// @notice Payments that an account could not be sent and can fetch
    function proceeds(address account) external view returns (uint256);

    /// @notice Energy in token units that an account could not be sent
    function keptEnergy(address account) external view returns (uint256);
}
