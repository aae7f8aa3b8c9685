// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {EnergyToken} from "./EnergyToken.sol";
import {SmartMeterRegistry} from "./SmartMeterRegistry.sol";
import {IEnergyLedger} from "./interfaces/IEnergyLedger.sol";
import {IP2PTrading} from "./interfaces/IP2PTrading.sol";
import {ISmartMeter} from "./interfaces/ISmartMeter.sol";

/// @title P2PTrading: escrowed sales between two accounts, without a coordinator
/// @notice Energy waits in escrow from the offer on, the payment from the match on. Both change
/// hands when the seller's meter has shown the delivery, or when both parties say so; otherwise
/// both go back after the settlement period. Nobody's role is needed at any step.
contract P2PTrading is IP2PTrading, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    enum Stage {
        None,
        Offered,
        Matched,
        Completed,
        Closed
    }

    /// @dev An offer and the trade that it becomes, under one id.
    struct Deal {
        address seller;
        uint40 validUntil;
        uint48 energyWh;
        Stage stage;
        address buyer;
        uint40 changedAt;
        bool sellerAgrees;
        bool buyerAgrees;
        bool hasBaseline;
        uint128 price;
        uint64 baselineWh;
        uint256 deviceId;
    }

    event SellOrderCreated(
        uint256 indexed orderId,
        address indexed seller,
        uint256 amount,
        uint256 price,
        uint256 validUntil
    );
    event OrderMatched(uint256 indexed orderId, address indexed buyer, uint256 payment);
    event DeliveryStarted(uint256 indexed tradeId, uint256 productionWh);
    event SettlementAgreed(uint256 indexed tradeId, address indexed party);
    event TradeSettled(
        uint256 indexed tradeId, address indexed seller, address indexed buyer, uint256 payment
    );
    event SellOrderClosed(uint256 indexed orderId);
    event TradeRefunded(uint256 indexed tradeId);
    event ProceedsKept(address indexed account, uint256 amount);

    error AmountInvalid(uint256 amount);
    error ValidityInvalid(uint256 validityPeriod);
    error StageInvalid(uint256 id, Stage stage);
    error OrderExpired(uint256 orderId, uint256 validUntil);
    error OrderStillValid(uint256 orderId, uint256 validUntil);
    error OwnOrder(uint256 orderId);
    error PaymentInvalid(uint256 given, uint256 needed);
    error PaymentRefused(address recipient, uint256 amount);
    error DeliveryNotShown(uint256 tradeId);
    error RefundTooEarly(uint256 tradeId, uint256 refundFrom);
    error ProceedsNone(address account);
    error TradingPaused();

    uint256 private constant _UNITS_PER_WH = 1e15;
    uint256 private constant _WH_PER_KWH = 1000;
    uint256 private constant _VALIDITY_MAX_S = 366 days;

    /// @notice The ledger; its pause stops new offers and matches here too
    IEnergyLedger public immutable ledger;
    /// @notice What is sold
    EnergyToken public immutable energyToken;
    /// @notice Where deliveries are shown
    SmartMeterRegistry public immutable registry;
    /// @notice What is paid with; zero for the chain's native currency
    address public immutable currency;
    /// @notice Seconds from the match after which an unsettled trade can be refunded
    uint256 public immutable settlementPeriodS;

    /// @notice Ids count from 1
    uint256 public dealCount;
    mapping(uint256 id => Deal) private _deals;
    /// @dev Production register up to which a meter's deliveries are already sold.
    mapping(uint256 deviceId => uint256 productionWh) private _soldUntilWh;

    /// @notice What an account could not be sent and can fetch
    mapping(address account => uint256 amount) public proceeds;

    constructor(
        IEnergyLedger ledger_,
        EnergyToken energyToken_,
        SmartMeterRegistry registry_,
        address currency_,
        uint256 settlementPeriodS_
    ) {
        ledger = ledger_;
        energyToken = energyToken_;
        registry = registry_;
        currency = currency_;
        settlementPeriodS = settlementPeriodS_;
    }

    /// @inheritdoc IP2PTrading
    function createSellOrder(uint256 amount, uint256 price, uint256 validityPeriod)
        external
        nonReentrant
        returns (uint256 orderId)
    {
        if (ledger.paused()) revert TradingPaused();
        if (amount == 0 || amount % _UNITS_PER_WH != 0) revert AmountInvalid(amount);
        if (validityPeriod == 0 || validityPeriod > _VALIDITY_MAX_S) {
            revert ValidityInvalid(validityPeriod);
        }
        orderId = ++dealCount;
        Deal storage deal = _deals[orderId];
        deal.seller = msg.sender;
        deal.validUntil = uint40(block.timestamp + validityPeriod);
        deal.energyWh = (amount / _UNITS_PER_WH).toUint48();
        deal.stage = Stage.Offered;
        deal.changedAt = uint40(block.timestamp);
        deal.price = price.toUint128();
        deal.deviceId = registry.deviceOf(msg.sender);
        emit SellOrderCreated(orderId, msg.sender, amount, price, deal.validUntil);
        IERC20(address(energyToken)).safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc IP2PTrading
    function matchOrder(uint256 orderId) external payable nonReentrant returns (bool) {
        if (ledger.paused()) revert TradingPaused();
        Deal storage deal = _in(orderId, Stage.Offered);
        if (block.timestamp >= deal.validUntil) revert OrderExpired(orderId, deal.validUntil);
        if (msg.sender == deal.seller) revert OwnOrder(orderId);
        deal.stage = Stage.Matched;
        deal.buyer = msg.sender;
        deal.changedAt = uint40(block.timestamp);
        uint256 payment = _payment(deal);
        emit OrderMatched(orderId, msg.sender, payment);
        _startDelivery(orderId, deal, block.timestamp - ledger.intervalS());
        _collect(payment);
        return true;
    }

    /// @inheritdoc IP2PTrading
    function settleTrade(uint256 tradeId) external nonReentrant {
        Deal storage deal = _in(tradeId, Stage.Matched);
        if (_isDelivered(deal) || _agree(tradeId, deal)) {
            deal.stage = Stage.Completed;
            uint256 payment = _payment(deal);
            emit TradeSettled(tradeId, deal.seller, deal.buyer, payment);
            _release(deal, deal.buyer);
            _pay(deal.seller, payment);
        } else if (!_startDelivery(tradeId, deal, deal.changedAt)) {
            bool isParty = msg.sender == deal.seller || msg.sender == deal.buyer;
            if (!isParty) revert DeliveryNotShown(tradeId);
        }
    }

    /// @notice Close an offer that nobody took: the seller at any time, anyone after its expiry
    function closeSellOrder(uint256 orderId) external nonReentrant {
        Deal storage deal = _in(orderId, Stage.Offered);
        if (msg.sender != deal.seller && block.timestamp < deal.validUntil) {
            revert OrderStillValid(orderId, deal.validUntil);
        }
        deal.stage = Stage.Closed;
        emit SellOrderClosed(orderId);
        _release(deal, deal.seller);
    }

    /// @notice Give energy and payment back when a trade was not settled in time; anyone may
    function refundTrade(uint256 tradeId) external nonReentrant {
        Deal storage deal = _in(tradeId, Stage.Matched);
        uint256 refundFrom = deal.changedAt + settlementPeriodS;
        if (block.timestamp < refundFrom) revert RefundTooEarly(tradeId, refundFrom);
        deal.stage = Stage.Closed;
        emit TradeRefunded(tradeId);
        _release(deal, deal.seller);
        _pay(deal.buyer, _payment(deal));
    }

    /// @notice Fetch what could not be sent
    function fetchProceeds(address to) external nonReentrant {
        uint256 amount = proceeds[msg.sender];
        if (amount == 0) revert ProceedsNone(msg.sender);
        proceeds[msg.sender] = 0;
        if (!_send(to, amount)) revert PaymentRefused(to, amount);
    }

    /// @notice An offer or trade
    function tradeOf(uint256 id) external view returns (EnergyTrade memory) {
        Deal storage deal = _deals[id];
        return EnergyTrade({
            seller: deal.seller,
            buyer: deal.buyer,
            amount: _amount(deal),
            price: deal.price,
            timestamp: deal.changedAt,
            completed: deal.stage == Stage.Completed
        });
    }

    /// @notice Where an offer or trade stands, and until when the offer is valid
    function stageOf(uint256 id) external view returns (Stage stage, uint256 validUntil) {
        return (_deals[id].stage, _deals[id].validUntil);
    }

    /// @notice What the buyer pays for an order
    function paymentOf(uint256 id) external view returns (uint256) {
        return _payment(_deals[id]);
    }

    function _in(uint256 id, Stage stage) private view returns (Deal storage deal) {
        deal = _deals[id];
        if (deal.stage != stage) revert StageInvalid(id, deal.stage);
    }

    function _amount(Deal storage deal) private view returns (uint256) {
        return deal.energyWh * _UNITS_PER_WH;
    }

    function _payment(Deal storage deal) private view returns (uint256) {
        return uint256(deal.energyWh) * deal.price / _WH_PER_KWH;
    }

    /// @dev Take the meter's latest reading as the delivery's start if it is no older than `since`;
    /// an older one would let the seller deliver what it had produced before.
    function _startDelivery(uint256 tradeId, Deal storage deal, uint256 since)
        private
        returns (bool)
    {
        if (deal.hasBaseline) return false;
        ISmartMeter.MeterReading memory reading = registry.lastReading(deal.deviceId);
        if (reading.timestamp < since || reading.timestamp == 0) return false;
        deal.hasBaseline = true;
        deal.baselineWh = uint64(reading.production);
        emit DeliveryStarted(tradeId, reading.production);
        return true;
    }

    /// @dev Tell whether the meter has produced the energy since the start; what is counted for
    /// this trade counts for no other.
    function _isDelivered(Deal storage deal) private returns (bool) {
        if (!deal.hasBaseline) return false;
        uint256 sold = _soldUntilWh[deal.deviceId];
        uint256 from = deal.baselineWh > sold ? deal.baselineWh : sold;
        uint256 deliveredUntil = from + deal.energyWh;
        if (registry.lastReading(deal.deviceId).production < deliveredUntil) return false;
        _soldUntilWh[deal.deviceId] = deliveredUntil;
        return true;
    }

    /// @dev Note the caller's agreement; tell whether both parties agree.
    function _agree(uint256 tradeId, Deal storage deal) private returns (bool) {
        if (msg.sender == deal.seller) deal.sellerAgrees = true;
        else if (msg.sender == deal.buyer) deal.buyerAgrees = true;
        else return false;
        emit SettlementAgreed(tradeId, msg.sender);
        return deal.sellerAgrees && deal.buyerAgrees;
    }

    function _collect(uint256 payment) private {
        if (currency == address(0)) {
            if (msg.value != payment) revert PaymentInvalid(msg.value, payment);
            return;
        }
        if (msg.value != 0) revert PaymentInvalid(msg.value, 0);
        uint256 before = IERC20(currency).balanceOf(address(this));
        IERC20(currency).safeTransferFrom(msg.sender, address(this), payment);
        uint256 arrived = IERC20(currency).balanceOf(address(this)) - before;
        if (arrived != payment) revert PaymentInvalid(arrived, payment);
    }

    /// @dev Give the escrowed energy out.
    function _release(Deal storage deal, address to) private {
        IERC20(address(energyToken)).safeTransfer(to, _amount(deal));
    }

    /// @dev Send, or keep for the account when it cannot be sent: nobody can block the other party.
    function _pay(address account, uint256 amount) private {
        if (amount == 0 || _send(account, amount)) return;
        proceeds[account] += amount;
        emit ProceedsKept(account, amount);
    }

    function _send(address to, uint256 amount) private returns (bool sent) {
        if (currency != address(0)) return IERC20(currency).trySafeTransfer(to, amount);
        (sent,) = to.call{value: amount}("");
    }
}
